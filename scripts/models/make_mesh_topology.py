#!/usr/bin/env python3
"""Makes the list of edges in ooblex-models/src/processors/mesh_topology.rs.

usage: make_mesh_topology.py [PICTURE [SHEET.png]]

The face mesh model places 468 points, and which of them are neighbours follows from where they lie on a face. So this
runs the model on a picture of a frontal face and on its mirror image, turns the points in space until the face looks
straight ahead, makes the layout symmetric, opens the mouth, and triangulates the layout after Delaunay. Triangles in
the openings of eyes and mouth, and beyond the outline of the face, are left out. Prints the edges as pairs of numbers, packed as rustfmt likes
them; draws them if SHEET.png is given.

Needs the PyPI packages numpy, onnxruntime, opencv-python-headless and scipy.
"""
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from scipy.optimize import linear_sum_assignment
from scipy.spatial import Delaunay

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "ooblex-models/weights"
TOPOLOGY = ROOT / "ooblex-models/src/processors/mesh_topology.rs"
PICTURE = ROOT / "ooblex-models/tests/golden/gallery.png"
# Corners of the eyes towards the ears, chin, middle of the forehead.
RIGHT, LEFT, CHIN, TOP = 33, 263, 152, 10
# How far behind the eyes the point lies from which the face is looked at, in distances of the eyes.
DEPTH = 1.5
# Points of the lips between their outer and inner border, beside those of the borders.
LIPS = [
    [76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 408, 304, 303, 302, 11, 72, 73, 74, 184],
    [62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 407, 272, 271, 268, 12, 38, 41, 42, 183],
]


def contour(name):
    """A list of points from the Rust source: it is the one place where they are written down."""
    text = re.search(rf"const {name}: &\[u16\] =\s*&\[([^\]]*)\]", TOPOLOGY.read_text(encoding="utf-8")).group(1)
    return [int(number) for number in re.findall(r"\d+", text)]


def session(name):
    return onnxruntime.InferenceSession(WEIGHTS / f"{name}.onnx", providers=["CPUExecutionProvider"])


def find_face(rgb):
    """Left, top, side of the best BlazeFace box, and its eyes, in pixels."""
    height, width = rgb.shape[:2]
    scale = 128 / max(width, height)
    small = cv2.resize(rgb, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    top, left = (128 - small.shape[0]) // 2, (128 - small.shape[1]) // 2
    square = np.zeros((128, 128, 3), np.float32)
    square[top:top + small.shape[0], left:left + small.shape[1]] = small
    tensor = (square / 127.5 - 1).transpose(2, 0, 1)[None]
    regressors, scores = session("blazeface_short_128").run(None, {"image": tensor.astype(np.float32)})
    best = int(scores[0, :, 0].argmax())
    anchors = [((x + .5) / n, (y + .5) / n) for n, each in [(16, 2), (8, 6)] for y in range(n) for x in range(n)
               for _ in range(each)]
    r, anchor = regressors[0, best], np.array(anchors[best]) * 128
    back = lambda p: (np.array(p) + anchor - [left, top]) / scale
    return back(r[:2]), r[2] / scale, back(r[4:6]), back(r[6:8])


def mesh(rgb):
    """468 points in pixels, with depth."""
    center, side, right, left = find_face(rgb)
    angle = np.arctan2(left[1] - right[1], left[0] - right[0])
    step = 1.5 * side / 192
    cos, sin = np.cos(angle) * step, np.sin(angle) * step
    # From the crop to the picture; the middle of the first pixel is at 0.5 in both.
    turn = np.array([[cos, -sin], [sin, cos]])
    shift = center - turn @ [96, 96]
    offset = shift + turn @ [0.5, 0.5] - [0.5, 0.5]
    crop = cv2.warpAffine(rgb, np.c_[turn, offset], (192, 192), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    points, presence = session("facemesh468_192").run(None, {"image": crop[None].astype(np.float32) / 255})
    assert presence.ravel()[0] > 0, "no face"
    points = points.reshape(468, 3)
    return np.c_[points[:, :2] @ turn.T + shift, points[:, 2] * step]


def frontal(points):
    """Turned until the eyes are level and the face looks straight ahead; unit is the distance of the eyes."""
    right = points[LEFT] - points[RIGHT]
    right /= np.linalg.norm(right)
    down = points[CHIN] - points[TOP]
    down -= right * (down @ right)
    down /= np.linalg.norm(down)
    away = np.cross(right, down)
    turned = (points - (points[RIGHT] + points[LEFT]) / 2) @ np.stack([right, down, away]).T
    return turned / np.linalg.norm(points[LEFT] - points[RIGHT])


def inside(polygon, point):
    return cv2.pointPolygonTest(polygon.astype(np.float32), (float(point[0]), float(point[1])), False) > 0


def main():
    picture = Path(sys.argv[1] if len(sys.argv) > 1 else PICTURE)
    rgb = cv2.cvtColor(cv2.imread(str(picture)), cv2.COLOR_BGR2RGB)
    straight, mirrored = frontal(mesh(rgb)), frontal(mesh(np.ascontiguousarray(rgb[:, ::-1])))
    # Point i of the mirror image lies where its partner across the nose lies in the picture.
    flipped = mirrored * [-1, 1, 1]
    cost = np.linalg.norm(straight[:, None] - flipped[None], axis=2)
    partner = linear_sum_assignment(cost)[1]
    assert (partner[partner] == np.arange(468)).all(), "no symmetric pairing"
    average = (straight + mirrored) / 2
    face = (average + average[partner] * [-1, 1, 1]) / 2
    # Seen from within the head, the underside of the nose and the sides of the face unfold.
    layout = face[:, :2] / (DEPTH - face[:, 2:])
    # A smile folds the lips, so they are laid out as rings around an open mouth.
    outer = layout[contour("OUTER_LIPS")]
    for number, ring in enumerate([*LIPS, contour("INNER_LIPS")], 1):
        layout[ring] = outer + (outer.mean(axis=0) - outer) * number / 6
    openings = [contour(name) for name in ["RIGHT_EYE", "LEFT_EYE", "INNER_LIPS"]]
    oval = layout[contour("OVAL")]
    edges = set()
    for triangle in Delaunay(layout).simplices:
        center = layout[triangle].mean(axis=0)
        within = any(set(triangle) <= set(opening) or inside(layout[opening], center) for opening in openings)
        if not within and inside(oval, center):
            a, b, c = sorted(int(i) for i in triangle)
            edges |= {(a, b), (b, c), (a, c)}
    used = {i for edge in edges for i in edge}
    assert used == set(range(468)), set(range(468)) - used
    line = "   "
    for number in (i for edge in sorted(edges) for i in edge):
        if len(line) + len(f" {number},") > 110:
            print(line)
            line = "   "
        line += f" {number},"
    print(line)
    print(len(edges), file=sys.stderr)
    if len(sys.argv) > 2:
        sheet = np.full((1100, 2000, 3), 255, np.uint8)
        for left, points, size in [(500, layout, 600), (1500, face, 450)]:
            at = lambda i: tuple(int(v) for v in (points[i, :2] * size + [left, 400]).round())
            for a, b in edges:
                cv2.line(sheet, at(a), at(b), (200, 120, 0), 1, cv2.LINE_AA)
            for name in re.findall(r"const (\w+): &\[u16\]", TOPOLOGY.read_text(encoding="utf-8")):
                for a, b in zip(contour(name), contour(name)[1:]):
                    cv2.line(sheet, at(a), at(b), (0, 0, 255), 2, cv2.LINE_AA)
        cv2.imwrite(sys.argv[2], sheet)


if __name__ == "__main__":
    main()
