#!/bin/sh
# Times every effect against OpenCV, one thread, 1280x720, one effect after the other on the same machine.
#
#   scripts/bench_effects.sh [PYTHON]
#
# PYTHON has the packages of scripts/golden/requirements.txt; by default a virtual environment under target/ is made.
# Prints the least time of each in milliseconds and their ratio; above 1.00 means slower than OpenCV.
set -eu
cd "$(dirname "$0")/.."
python=${1:-}
if [ -z "$python" ]; then
    python=target/bench-venv/bin/python
    if [ ! -x "$python" ]; then
        python3 -m venv target/bench-venv
        "$python" -m pip install --quiet -r scripts/golden/requirements.txt
    fi
fi
bench=$(cargo bench --quiet --profile release -p ooblex-models --bench effects --no-run --message-format=json |
    "$python" -c 'import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["target"]["name"] == "effects":
        print(message["executable"])')
export CRITERION_HOME=target/criterion
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
