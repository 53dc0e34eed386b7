#!/bin/sh
# Times the filling of model inputs against OpenCV, one thread, 1280x720, one after the other on the same machine.
#
#   scripts/bench_preprocess.sh [PYTHON]
#
# PYTHON has the packages of scripts/golden/requirements.txt; by default a virtual environment under target/ is made.
# Prints the least time of each in milliseconds, OpenCV's from I420 and from BGR, and the ratio of ours to the former.
set -eu
cd "$(dirname "$0")/.."
. scripts/bench_common.sh
find_python "${1:-}"
build_bench preprocess
printf '%-24s %10s %12s %12s %8s\n' input ooblex_ms from_i420_ms from_bgr_ms ratio
for input in i420_128_letterbox i420_256x144_stretch i420_256x256_stretch i420_416_letterbox i420_640x384_stretch \
    i420_192_square_of_150 i420_192_square_of_370 i420_192_square_of_600; do
    "$bench" --bench --quiet --sample-size 100 "preprocess_720p/$input\$" >/dev/null 2>&1
    opencv=$("$python" scripts/golden/bench_preprocess_opencv.py "$input")
    "$python" - $opencv <<'PY'
import json, sys
name, from_i420, from_bgr = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
with open(f"target/criterion/preprocess_720p/{name}/new/sample.json") as f:
    sample = json.load(f)
ours = min(t / n for t, n in zip(sample["times"], sample["iters"])) / 1e6
print(f"{name:24} {ours:10.3f} {from_i420:12.3f} {from_bgr:12.3f} {ours / from_i420:8.2f}")
PY
done
