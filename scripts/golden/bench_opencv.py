"""CPU time of OpenCV for every effect at 1280x720 on one thread, least of many runs, in milliseconds.

    VENV/bin/python scripts/golden/bench_opencv.py [EFFECT ...]

The picture is the golden astronaut, enlarged. OpenCV gets every advantage: pixels already in BGR (luma for the
effects that need luma alone), memory for the result already allocated where the call allows it.
"""

import pathlib
import sys
import time

import cv2
import numpy as np

import make_effects
import reference


def picture():
    golden = pathlib.Path(__file__).resolve().parent / "../../ooblex-models/tests/golden/astronaut.input.png"
    packed = cv2.imread(str(golden), cv2.IMREAD_GRAYSCALE)
    height, half = 243, packed.shape[1] // 2
    planes = [packed[:height, :321], packed[height:, :half], packed[height:, half:]]
    bgr = make_effects.to_rgb(planes, "full", "bt601")[..., ::-1]
    return cv2.resize(np.ascontiguousarray(bgr), (1280, 720), interpolation=cv2.INTER_LINEAR)


def least(run, seconds=0.8):
    run()
    times, start = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - start < seconds:
        before = time.process_time_ns()
        run()
        times.append(time.process_time_ns() - before)
    return min(times) / 1e6


def main():
    cv2.setNumThreads(1)
    bgr = picture()
    luma = reference.gray(bgr)
    out, out_luma = np.empty_like(bgr), np.empty_like(luma)
    noise = reference.grain(720, 1280)
    runs = {
        "edge_detection": lambda: reference.edge_detection(luma, dst=out_luma),
        "cartoon": lambda: reference.cartoon(bgr),
        "grayscale": lambda: cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY, dst=out_luma),
        "sepia": lambda: reference.sepia(bgr, dst=out),
        "blur": lambda: reference.blur(bgr, dst=out),
        "pixelate": lambda: reference.pixelate_fast(bgr),
        "invert": lambda: reference.invert(bgr, dst=out),
        "mirror": lambda: reference.mirror(bgr, dst=out),
        "emboss": lambda: reference.emboss(bgr, dst=out),
        "sketch": lambda: reference.sketch(luma),
        "sharpen": lambda: reference.sharpen(bgr, dst=out),
        "vintage": lambda: reference.vintage(bgr, noise),
        "denoise": lambda: reference.denoise(bgr),
    }
    for name in sys.argv[1:] or runs:
        print(f"{name} {least(runs[name]):.3f}", flush=True)


if __name__ == "__main__":
    main()
