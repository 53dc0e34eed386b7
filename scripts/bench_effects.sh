#!/bin/sh
# Times every effect against OpenCV, one thread, 1280x720, one effect after the other on the same machine.
#
#   scripts/bench_effects.sh [PYTHON]
#
# PYTHON has the packages of scripts/golden/requirements.txt; by default a virtual environment under target/ is made.
# Prints the least time of each in milliseconds and their ratio; above 1.00 means slower than OpenCV.
set -eu
cd "$(dirname "$0")/.."
. scripts/bench_common.sh
find_python "${1:-}"
build_bench effects
printf '%-16s %10s %10s %8s\n' effect ooblex_ms opencv_ms ratio
for effect in edge_detection cartoon grayscale sepia blur pixelate invert mirror emboss sketch sharpen vintage denoise; do
    "$bench" --bench --quiet "effects_720p/$effect\$" >/dev/null 2>&1
    opencv=$("$python" scripts/golden/bench_opencv.py "$effect" | cut -d' ' -f2)
    "$python" - "$effect" "$opencv" <<'PY'
import json, sys
effect, opencv = sys.argv[1], float(sys.argv[2])
with open(f"target/criterion/effects_720p/{effect}/new/sample.json") as f:
    sample = json.load(f)
ours = min(t / n for t, n in zip(sample["times"], sample["iters"])) / 1e6
print(f"{effect:16} {ours:10.3f} {opencv:10.3f} {ours / opencv:8.2f}")
PY
done
