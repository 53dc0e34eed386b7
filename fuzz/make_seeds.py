#!/usr/bin/env python3
"""Writes the seeds of the decoder targets: three pictures of 64x48 by each encoder of ffmpeg, one record (a byte of
instructions, the size in two bytes, an access unit) each. The seeds of the RTP targets are written by the tests of
ooblex-ingest (tests/rtp/seeds.rs), the others by hand.
"""

import subprocess
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def encode(*options):
    source = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=30,format=yuv420p", "-frames:v", "3"]
    command = ["ffmpeg", "-v", "error", *source, "-fflags", "+bitexact", *options, "-"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def ivf(data):
    at = 32
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        yield data[at + 12 : at + 12 + size]
        at += 12 + size


def annex_b(data):
    delimiter = b"\0\0\0\1\x09"
    return [delimiter + unit for unit in data.split(delimiter)[1:]]


def write(target, name, units):
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    records = (b"\0" + len(unit).to_bytes(2, "little") + unit for unit in units)
    (CORPUS / target / name).write_bytes(b"".join(records))


x264 = ("-c:v", "libx264", "-bsf:v", "h264_metadata=aud=insert", "-f", "h264", "-bf", "0", "-profile:v")
write("decode_h264", "baseline", annex_b(encode(*x264, "baseline", "-g", "2")))
write("decode_h264", "high", annex_b(encode(*x264, "high", "-x264-params", "slices=2")))
vpx = ("-b:v", "100k", "-deadline", "realtime", "-f", "ivf", "-c:v")
write("decode_vp8", "plain", ivf(encode(*vpx, "libvpx")))
write("decode_vp9", "plain", ivf(encode(*vpx, "libvpx-vp9", "-cpu-used", "8")))
