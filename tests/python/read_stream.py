#!/usr/bin/env python3
"""read_stream.py URL FRAMES: reads a stream with OpenCV and prints one JSON line for each frame.

Each line has `shape` (rows, columns, channels), `mark` ([publisher, counter] or null) and `field`, the mean red, green
and blue of the plain strip below the mark. Ends with 1 when the stream cannot be opened or ends early.
"""

import json
import sys

import cv2

import mark


def main():
    url, frames = sys.argv[1], int(sys.argv[2])
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG)
    if not capture.isOpened():
        sys.exit(f"cannot open {url}")
    for count in range(frames):
        ok, picture = capture.read()
        if not ok:
            sys.exit(f"the stream ended after {count} frames")
        luma = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        rows = picture.shape[0]
        field = picture[rows * 7 // 24 : rows * 9 // 24].mean(axis=(0, 1))[::-1]
        line = {"shape": picture.shape, "mark": mark.read(luma), "field": [round(float(v), 1) for v in field]}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
