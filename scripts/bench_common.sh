# For the benchmarks that compare with OpenCV, which source this in the repository root.

# Sets `python` to PYTHON, or to a virtual environment under target/ with what scripts/golden/ needs.
find_python() {
    python=${1:-}
    [ -z "$python" ] || return 0
    python=target/bench-venv/bin/python
    if [ ! -x "$python" ]; then
        python3 -m venv target/bench-venv
        "$python" -m pip install --quiet -r scripts/golden/requirements.txt
    fi
}

# Builds the benchmark NAME of ooblex-models and sets `bench` to its program, which then runs without cargo between runs.
build_bench() {
    bench=$(cargo bench --quiet --profile release -p ooblex-models --bench "$1" --no-run --message-format=json |
        "$python" -c 'import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["target"]["name"] == sys.argv[1]:
        print(message["executable"])' "$1")
    export CRITERION_HOME=target/criterion
}
