#!/usr/bin/env python3
"""Makes the golden detections: what ONNX Runtime finds in whole pictures, with resize and decoding by OpenCV and numpy.

usage: make_detectors.py WEIGHTS OUT.json PICTURE FACES.json [PICTURE FACES.json ...]

WEIGHTS is a folder of .onnx files; FACES.json has MediaPipe's faces of the picture, or is `-` where there are none. The
one in the repository, in ooblex-models/tests/golden: make_detectors.py ../../weights models/whole.json models/astronaut.png
models/blazeface_short_128.mediapipe.json models/coffee.png - gallery.png -

Needs the PyPI packages numpy, opencv-python-headless and onnxruntime (1.32.0 made the one in the repository).
"""
import json
import os
import sys

import cv2
import numpy as np
import onnxruntime


def resized(bgr, width, height):
    shrinks = max(bgr.shape[1] / width, bgr.shape[0] / height) > 2
    return cv2.resize(bgr, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def letterbox(bgr, side):
    """The picture in a black square, and the map from its pixels back."""
    height, width = bgr.shape[:2]
    scale = min(side / width, side / height)
    w, h = round(width * scale), round(height * scale)
    left, top = (side - w) // 2, (side - h) // 2
    square = np.zeros((side, side, 3), np.uint8)
    square[top : top + h, left : left + w] = resized(bgr, w, h)
    return square, lambda x, y: ((x - left) * width / w, (y - top) * height / h)


def suppressed(found, same):
    """Non-maximum suppression of [x1, y1, x2, y2, score, ...]."""
    kept = []
    for one in sorted(found, key=lambda f: -f[4]):
        def overlap(other):
            w = min(one[2], other[2]) - max(one[0], other[0])
            h = min(one[3], other[3]) - max(one[1], other[1])
            both = max(w, 0) * max(h, 0)
            area = lambda f: (f[2] - f[0]) * (f[3] - f[1])
            return both / (area(one) + area(other) - both)
        if all(overlap(other) <= same for other in kept):
            kept.append(one)
    return kept


def nanodet(session, bgr):
    square, back = letterbox(bgr, 416)
    x = (square.astype(np.float32) - [103.53, 116.28, 123.675]) / [57.375, 57.12, 58.395]
    outputs = session.run(None, {"image": x.transpose(2, 0, 1)[None].astype(np.float32)})
    found = []
    for stride, scores, sides in zip((8, 16, 32), outputs[:3], outputs[3:]):
        n = 416 // stride
        for cell, label in zip(*np.where(scores[0] >= 0.4)):
            if label == 61:
                continue
            bins = np.exp(sides[0, cell].reshape(4, 11).astype(np.float64))
            l, t, r, b = (bins / bins.sum(1, keepdims=True)) @ np.arange(11) * stride
            cx, cy = (cell % n + 0.5) * stride, (cell // n + 0.5) * stride
            corners = [*back(cx - l, cy - t), *back(cx + r, cy + b)]
            found.append([*corners, float(scores[0, cell, label]), int(label)])
    kept = [f for label in {f[5] for f in found} for f in suppressed([f for f in found if f[5] == label], 0.6)]
    return [{"box": numbers(f[:4]), "score": round(f[4], 4), "class": f[5]} for f in sorted(kept, key=lambda f: -f[4])]


def centerface(session, bgr):
    height, width = bgr.shape[:2]
    w, h = -(-width // 32) * 32, -(-height // 32) * 32
    x = cv2.cvtColor(cv2.resize(bgr, (w, h)), cv2.COLOR_BGR2RGB).astype(np.float32).transpose(2, 0, 1)[None]
    heat, scale, offset, marks = (o[0] for o in session.run(None, {"image": x}))
    found = []
    for y, x in zip(*np.where(heat[0] >= 0.5)):
        sh, sw = np.exp(scale[:, y, x]) * 4
        left, top = (x + offset[1, y, x] + 0.5) * 4 - sw / 2, (y + offset[0, y, x] + 0.5) * 4 - sh / 2
        m = marks[:, y, x]
        points = [[(left + m[2 * i + 1] * sw) * width / w, (top + m[2 * i] * sh) * height / h] for i in range(5)]
        box = [left * width / w, top * height / h, (left + sw) * width / w, (top + sh) * height / h]
        found.append([*box, float(heat[0, y, x]), points])
    return [
        {"box": numbers(f[:4]), "score": round(f[4], 4), "points": [numbers(p) for p in f[5]]}
        for f in suppressed(found, 0.3)
    ]


def movenet(session, bgr):
    square, back = letterbox(bgr, 192)
    rgb = cv2.cvtColor(square, cv2.COLOR_BGR2RGB).astype(np.int32)[None]
    joints = session.run(None, {"image": rgb})[0][0, 0]
    return [[*numbers(back(x * 192, y * 192)), round(float(score), 4)] for y, x, score in joints]


def emotion(session, bgr, face):
    x1, y1, x2, y2 = face["box_px_xyxy"]
    height = y2 - y1
    top, bottom = round(y1 - 0.2 * height), round(y2 + 0.05 * height)
    part = bgr[max(top, 0) : bottom, max(round(x1), 0) : round(x2)]
    grey = cv2.cvtColor(resized(part, 64, 64), cv2.COLOR_BGR2GRAY).astype(np.float32)
    probabilities = session.run(None, {"image": ((grey / 255 - 0.5) * 2)[None, :, :, None]})[0][0]
    return {"box": face["box_px_xyxy"], "probabilities": [round(float(p), 4) for p in probabilities]}


def numbers(values):
    return [round(float(v), 2) for v in values]


def main():
    weights, out = sys.argv[1:3]
    load = lambda name: onnxruntime.InferenceSession(os.path.join(weights, name + ".onnx"))
    sessions = [load(n) for n in ("nanodet_g_416", "centerface", "movenet_lightning_192", "emotion_minixception_64")]
    pictures = {}
    for picture, faces in zip(sys.argv[3::2], sys.argv[4::2]):
        bgr, name = cv2.imread(picture), os.path.basename(picture)
        faces = [] if faces == "-" else json.load(open(faces, encoding="utf-8"))["images"][name]
        pictures[name] = {
            "nanodet": nanodet(sessions[0], bgr),
            "centerface": centerface(sessions[1], bgr),
            "movenet": movenet(sessions[2], bgr),
            "emotion": [emotion(sessions[3], bgr, face) for face in faces],
        }
    runtime = f"ONNX Runtime {onnxruntime.__version__}, OpenCV {cv2.__version__}, see scripts/golden/make_detectors.py"
    with open(out, "w", encoding="utf-8") as file:
        json.dump({"runtime": runtime, "pictures": pictures}, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
