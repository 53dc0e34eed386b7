#!/usr/bin/env python3
"""Makes the clip of the load test: 720p, 30 pictures a second, about 2.5 Mbit/s, with a mark in each picture.

    load_clip.py VIDEO OUT.h264|OUT.ivf [--frames 300] [--ffmpeg PROGRAM]

The video is played to and fro until there are enough pictures, at the size and rate that the test wants. H.264 is
constrained baseline with a key frame at the beginning only, as a live encoder sends it; VP8 likewise.
"""

import argparse
import itertools
import subprocess

import numpy as np

import mark

WIDTH, HEIGHT = 1280, 720
ENCODERS = {
    "h264": "-c:v libx264 -profile:v baseline -preset veryfast -tune zerolatency -b:v 2500k -maxrate 2500k "
    "-bufsize 1250k -g 100000 -sc_threshold 0 -f h264",
    "ivf": "-c:v libvpx -deadline realtime -cpu-used 6 -b:v 2500k -minrate 2500k -maxrate 2500k -bufsize 2500k "
    "-lag-in-frames 0 -auto-alt-ref 0 -g 100000 -f ivf",
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("video")
    parser.add_argument("out")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--ffmpeg", default="ffmpeg")
    options = parser.parse_args()
    raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p"]
    scale = f"fps=30,scale={WIDTH}:{HEIGHT},format=yuv420p"
    read = [options.ffmpeg, "-loglevel", "error", "-i", options.video, "-vf", scale, *raw, "pipe:1"]
    decoded = subprocess.run(read, check=True, stdout=subprocess.PIPE).stdout
    pictures = np.frombuffer(decoded, np.uint8).reshape(-1, HEIGHT * 3 // 2, WIDTH)
    size = ["-s", f"{WIDTH}x{HEIGHT}", "-r", "30"]
    encoder = ENCODERS[options.out.rsplit(".", 1)[1]].split()
    write = [options.ffmpeg, "-loglevel", "error", "-y", *raw, *size, "-i", "pipe:0", *encoder, options.out]
    with subprocess.Popen(write, stdin=subprocess.PIPE) as process:
        order = itertools.cycle([*range(len(pictures)), *range(len(pictures) - 2, 0, -1)])
        for counter, at in zip(range(options.frames), order):
            picture = pictures[at].copy()
            marked = mark.draw(1, counter, WIDTH, HEIGHT)
            # The grid alone: the rest of the picture stays what it was.
            picture[: HEIGHT // 4] = marked[: HEIGHT // 4]
            for plane in (picture[HEIGHT : HEIGHT * 5 // 4], picture[HEIGHT * 5 // 4 :]):
                plane.reshape(HEIGHT // 2, WIDTH // 2)[: HEIGHT // 8] = 128
            process.stdin.write(picture.tobytes())
        process.stdin.close()
    if process.returncode:
        raise SystemExit(f"{options.ffmpeg} failed")


if __name__ == "__main__":
    main()
