#!/usr/bin/env python3
"""Makes the pictures and clips in this folder, all from one public-domain picture.

    python make.py astronaut.png

`astronaut.png` is the 512x512 test picture of scikit-image (NASA photograph of Eileen Collins, public domain).
Needs Pillow 12 or newer, numpy, and ffmpeg with libx264 on the PATH. The `.crc` files beside the clips hold what
ffmpeg decoded: one line a frame, `pts adler32`, over the packed 4:2:0 planes (ffmpeg's `framecrc`).
"""

import io
import subprocess
import sys
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
SIZE = (96, 64)
# How the stored picture is made from the upright one, so that EXIF orientation n turns it back (TIFF 6.0).
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def exif(orientation, gps=False):
    data = Image.Exif()
    data[0x0112] = orientation
    if gps:
        data[0x010F] = "Secret Camera"
        ifd = data.get_ifd(0x8825)
        ifd[1], ifd[2] = "N", (48.0, 51.0, 29.0)
        ifd[3], ifd[4] = "E", (2.0, 17.0, 40.0)
    return data


def jpeg(image, name, **options):
    options = {"quality": 92, "subsampling": "4:2:0", **options}
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    (HERE / name).write_bytes(buffer.getvalue())
    return buffer.getvalue()


def pictures(upright):
    upright.save(HERE / "upright.png")
    jpeg(upright, "plain.jpg")
    for orientation, transpose in STORED.items():
        stored = upright if transpose is None else upright.transpose(transpose)
        jpeg(stored, f"orientation_{orientation}.jpg", exif=exif(orientation))
    jpeg(upright, "gps.jpg", exif=exif(1, gps=True), comment="taken at home", icc_profile=b"x" * 3000)
    jpeg(upright, "progressive.jpg", progressive=True)
    jpeg(upright, "restart.jpg", restart_marker_blocks=2)
    jpeg(upright, "rgb.jpg", keep_rgb=True, subsampling="4:4:4")
    jpeg(upright.convert("L"), "gray.jpg")
    jpeg(upright.convert("CMYK"), "cmyk.jpg", subsampling="4:4:4")
    odd = upright.crop((0, 0, 95, 63))
    for name, sampling in [("444", "4:4:4"), ("422", "4:2:2"), ("420", "4:2:0")]:
        jpeg(odd, f"odd_{name}.jpg", subsampling=sampling)

    rgba = upright.copy()
    rgba.putalpha(Image.linear_gradient("L").resize(SIZE))
    rgba.save(HERE / "rgba.png")
    upright.quantize(64).save(HERE / "palette.png")
    upright.convert("L").save(HERE / "gray.png")
    upright.transpose(STORED[6]).save(HERE / "orientation_6.png", exif=exif(6))
    upright.save(HERE / "lossy.webp", quality=90)
    upright.save(HERE / "lossless.webp", lossless=True)
    rgba.save(HERE / "rgba.webp", lossless=True)
    upright.transpose(STORED[6]).save(HERE / "orientation_6.webp", lossless=True, exif=exif(6))


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


def crc(name):
    out = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", HERE / name, "-fps_mode", "passthrough",
         "-f", "framecrc", "-"], check=True, capture_output=True, text=True).stdout
    lines = [line.split(",") for line in out.splitlines() if not line.startswith("#")]
    text = "".join(f"{int(f[2])} {f[5].strip()}\n" for f in lines)
    (HERE / name).with_suffix(".crc").write_text(text)


def clips(source):
    pan = "scale=240:240:flags=bicubic,crop=160:120:40+40*sin(2*PI*t):0,format=yuv420p"
    common = ["-loop", 1, "-framerate", 30, "-t", 1, "-i", source, "-an", "-c:v", "libx264", "-b:v", "200k"]
    exact = ["-bitexact", "-fflags", "+bitexact", "-flags:v", "+bitexact"]
    ffmpeg(*common, "-vf", pan, "-profile:v", "baseline", "-bf", 0, "-g", 10, *exact, HERE / "pan.mp4")
    ffmpeg(*common, "-vf", pan, "-profile:v", "high", "-bf", 3, "-g", 30, *exact, HERE / "reordered.mp4")
    ffmpeg(*common, "-vf", pan.replace("format=", "scale=out_range=pc:out_color_matrix=bt709,format="),
           "-profile:v", "main", "-bf", 0, "-x264-params", "fullrange=on:colormatrix=bt709", "-frames:v", 3,
           *exact, HERE / "full_range.mp4")
    ffmpeg("-i", HERE / "pan.mp4", "-c", "copy", "-movflags", "frag_keyframe+empty_moov", *exact,
           HERE / "fragmented.mp4")
    # A cut inside a group of pictures: the container keeps the frames before it and hides them by an edit list.
    ffmpeg("-ss", 0.5, "-i", HERE / "pan.mp4", "-c", "copy", *exact, HERE / "edited.mp4")
    ffmpeg("-i", HERE / "pan.mp4", "-frames:v", 2, "-c:v", "mpeg4", *exact, HERE / "mpeg4.mp4")
    for name in ["pan", "reordered", "full_range", "fragmented", "edited"]:
        crc(f"{name}.mp4")


def main():
    source = Path(sys.argv[1])
    upright = Image.open(source).convert("RGB").resize((96, 96), Image.Resampling.LANCZOS).crop((0, 0, *SIZE))
    pictures(upright)
    clips(source)


if __name__ == "__main__":
    main()
