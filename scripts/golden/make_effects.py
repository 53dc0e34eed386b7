"""Makes the golden pictures of ooblex-models/tests/golden with OpenCV.

    python -m venv VENV && VENV/bin/pip install -r scripts/golden/requirements.txt
    VENV/bin/python scripts/golden/make_effects.py [OUTPUT_FOLDER]

Deterministic: the same package versions give the same pixels. Each picture is first turned into I420
(the input our effects see); OpenCV then gets the BGR made from exactly that I420 (chroma replicated),
and its result goes back to I420 (chroma averaged over 2x2), so that a difference is about the effect.

A golden is one 8-bit grey PNG: the luma rows, then below them each row of U followed by the same row
of V. Its width is twice the chroma width, so a picture of odd width has one unused luma column.
Luma-only results (edges, sketch, grey) hold luma rows only, always full range.
"""

import hashlib
import pathlib
import sys

import cv2
import numpy as np
import skimage.data

import reference

# name, loader, width, height, range, matrix
PICTURES = [
    ("astronaut", skimage.data.astronaut, 321, 243, "full", "bt601"),
    ("coffee", skimage.data.coffee, 256, 170, "limited", "bt601"),
    ("chelsea", skimage.data.chelsea, 199, 151, "limited", "bt709"),
]
WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}


def crop_to(picture, width, height):
    """Centre crop to the target's aspect, then area resize."""
    h, w = picture.shape[:2]
    scale = min(w / width, h / height)
    cw, ch = int(width * scale), int(height * scale)
    x, y = (w - cw) // 2, (h - ch) // 2
    return cv2.resize(picture[y : y + ch, x : x + cw], (width, height), interpolation=cv2.INTER_AREA)


def scales(range_):
    return (16.0, 219.0, 224.0) if range_ == "limited" else (0.0, 255.0, 255.0)


def box(plane):
    """Mean over 2x2, the last column and row repeated when the size is odd."""
    h, w = plane.shape
    plane = np.pad(plane, ((0, h % 2), (0, w % 2)), mode="edge")
    return (plane[0::2, 0::2] + plane[1::2, 0::2] + plane[0::2, 1::2] + plane[1::2, 1::2]) / 4


def to_i420(rgb, range_, matrix):
    kr, kb = WEIGHTS[matrix]
    base, ys, cs = scales(range_)
    r, g, b = [rgb[..., i].astype(np.float64) / 255 for i in range(3)]
    luma = kr * r + (1 - kr - kb) * g + kb * b
    u = box((b - luma) / (2 * (1 - kb)))
    v = box((r - luma) / (2 * (1 - kr)))
    planes = [base + ys * luma, 128 + cs * u, 128 + cs * v]
    return [np.clip(np.rint(p), 0, 255).astype(np.uint8) for p in planes]


def to_rgb(planes, range_, matrix):
    kr, kb = WEIGHTS[matrix]
    base, ys, cs = scales(range_)
    h, w = planes[0].shape
    luma = (planes[0].astype(np.float64) - base) / ys
    u, v = [
        np.repeat(np.repeat((p.astype(np.float64) - 128) / cs, 2, axis=0), 2, axis=1)[:h, :w]
        for p in planes[1:]
    ]
    r = luma + 2 * (1 - kr) * v
    b = luma + 2 * (1 - kb) * u
    g = (luma - kr * r - kb * b) / (1 - kr - kb)
    return np.clip(np.rint(np.stack([r, g, b], -1) * 255), 0, 255).astype(np.uint8)


def full_luma(plane, range_):
    base, ys, _ = scales(range_)
    return np.clip(np.rint((plane.astype(np.float64) - base) / ys * 255), 0, 255).astype(np.uint8)


def pack(planes):
    luma, u, v = planes
    width = 2 * u.shape[1]
    rows = np.pad(luma, ((0, 0), (0, width - luma.shape[1])), mode="edge")
    return np.vstack([rows, np.hstack([u, v])])


def main():
    cv2.setNumThreads(1)
    here = pathlib.Path(__file__).resolve().parent
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here / "../../ooblex-models/tests/golden"
    out.mkdir(parents=True, exist_ok=True)
    lines = [f"OpenCV {cv2.__version__}, NumPy {np.__version__}, scikit-image {skimage.__version__}"]

    def save(name, pixels):
        path = out / f"{name}.png"
        cv2.imwrite(str(path), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9, cv2.IMWRITE_PNG_STRATEGY, 1])
        lines.append(f"{hashlib.sha256(np.ascontiguousarray(pixels)).hexdigest()[:16]}  {name}")

    for name, loader, width, height, range_, matrix in PICTURES:
        planes = to_i420(crop_to(loader(), width, height), range_, matrix)
        save(f"{name}.input", pack(planes))
        bgr = np.ascontiguousarray(to_rgb(planes, range_, matrix)[..., ::-1])
        luma = full_luma(planes[0], range_)

        def color(effect, picture):
            save(f"{name}.{effect}", pack(to_i420(picture[..., ::-1], range_, matrix)))

        save(f"{name}.edge_detection", reference.edge_detection(luma))
        save(f"{name}.edge_detection_50_150", reference.edge_detection(luma, 50, 150))
        save(f"{name}.sketch", reference.sketch(luma))
        save(f"{name}.grayscale", luma)
        for effect in ("cartoon", "sepia", "blur", "pixelate", "invert", "mirror", "emboss", "sharpen"):
            color(effect, getattr(reference, effect)(bgr))
        color("blur_7", reference.blur(bgr, 7))
        color("vintage", reference.vintage(bgr))
        color("denoise", reference.denoise(bgr))
        if name == "chelsea":
            # Luma alone, so that noise and result can be compared with the clean picture.
            noise = np.rint(reference.grain(height, width) * (10 / reference.GRAIN_SIGMA))
            noisy = np.clip(luma + noise, 0, 255).astype(np.uint8)
            save(f"{name}.noisy", noisy)
            save(f"{name}.noisy_denoise", cv2.fastNlMeansDenoising(noisy, None, 10, 7, 21))
    # The picture of docs/gallery.jpg, in colour: the upper part of the astronaut.
    gallery = cv2.resize(skimage.data.astronaut()[:384], (400, 300), interpolation=cv2.INTER_AREA)
    save("gallery", np.ascontiguousarray(gallery[..., ::-1]))
    (out / "VERSIONS.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
