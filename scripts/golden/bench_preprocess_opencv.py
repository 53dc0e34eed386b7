"""CPU time of OpenCV for filling a model's input from 1280x720 on one thread, least of many runs, in milliseconds.

    VENV/bin/python scripts/golden/bench_preprocess_opencv.py [NAME ...]

Each line has two figures: from I420, as a decoder gives it, and from BGR, as if somebody had converted it before. Sizes
less than half are averaged (INTER_AREA), others interpolated, as ours are; memory for results is allocated beforehand
where the call allows it.
"""

import sys

import cv2
import numpy as np

from bench_opencv import least

WIDTH, HEIGHT = 1280, 720


class Input:
    def __init__(self, width, height, letterbox=False, mean=0.0, scale=1 / 255.0):
        inner = min(width / WIDTH, height / HEIGHT) if letterbox else None
        self.inner = (round(WIDTH * inner), round(HEIGHT * inner)) if letterbox else (width, height)
        self.mean, self.scale = mean, scale
        averages = WIDTH > 2 * self.inner[0]
        self.how = cv2.INTER_AREA if averages else cv2.INTER_LINEAR
        self.small = np.empty((self.inner[1], self.inner[0], 3), np.uint8)
        self.boxed = np.zeros((height, width, 3), np.uint8)
        top, left = (height - self.inner[1]) // 2, (width - self.inner[0]) // 2
        self.part = self.boxed[top : top + self.inner[1], left : left + self.inner[0]]

    def fill(self, bgr):
        cv2.resize(bgr, self.inner, dst=self.small, interpolation=self.how)
        self.part[:] = self.small
        size = self.boxed.shape[1::-1]
        return cv2.dnn.blobFromImage(self.boxed, self.scale, size, (self.mean,) * 3, swapRB=True)


def square(bgr, side, size=192, angle=0.2):
    sin, cos = np.sin(angle) * side / size, np.cos(angle) * side / size
    half = size / 2 - 0.5
    to_picture = np.array([[cos, -sin, 600 - cos * half + sin * half], [sin, cos, 350 - sin * half - cos * half]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(bgr, to_picture, (size, size), flags=flags)
    return cv2.dnn.blobFromImage(crop, 1 / 255.0, swapRB=True)


INPUTS = {
    "i420_128_letterbox": Input(128, 128, True, 127.5, 1 / 127.5).fill,
    "i420_256x144_stretch": Input(256, 144).fill,
    "i420_256x256_stretch": Input(256, 256).fill,
    "i420_416_letterbox": Input(416, 416, True).fill,
    "i420_640x384_stretch": Input(640, 384).fill,
    "i420_192_square_of_150": lambda bgr: square(bgr, 150),
    "i420_192_square_of_370": lambda bgr: square(bgr, 370),
    "i420_192_square_of_600": lambda bgr: square(bgr, 600),
}


def main():
    cv2.setNumThreads(1)
    yuv = np.random.default_rng(1).integers(0, 256, (HEIGHT * 3 // 2, WIDTH), np.uint8)
    bgr = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    for name in sys.argv[1:] or INPUTS:
        fill = INPUTS[name]
        whole = least(lambda: fill(cv2.cvtColor(yuv, cv2.COLOR_YUV2BGR_I420, dst=bgr)))
        print(f"{name} {whole:.3f} {least(lambda: fill(bgr)):.3f}", flush=True)


if __name__ == "__main__":
    main()
