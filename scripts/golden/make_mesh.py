#!/usr/bin/env python3
"""Makes the golden face meshes: what MediaPipe itself finds in whole pictures, its own detector and crop included.

usage: make_mesh.py PICTURE OUT.json [PICTURE OUT.json ...]

The one in the repository: make_mesh.py ooblex-models/tests/golden/gallery.png
ooblex-models/tests/golden/models/gallery.face_mesh.json

Needs the PyPI package mediapipe, version 0.10.21.
"""
import json
import sys

import cv2
import mediapipe


def main():
    for picture, out in zip(sys.argv[1::2], sys.argv[2::2]):
        rgb = cv2.cvtColor(cv2.imread(picture), cv2.COLOR_BGR2RGB)
        height, width = rgb.shape[:2]
        # Static: the detector decides where to look. Not refined: 468 points, by the model that this crate has.
        finder = mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, max_num_faces=2, refine_landmarks=False)
        faces = finder.process(rgb).multi_face_landmarks or []
        meshes = [[[round(p.x * width, 2), round(p.y * height, 2)] for p in face.landmark] for face in faces]
        with open(out, "w", encoding="utf-8") as file:
            json.dump({"runtime": "mediapipe 0.10.21 FaceMesh", "width": width, "height": height, "meshes": meshes}, file)
            file.write("\n")


if __name__ == "__main__":
    main()
