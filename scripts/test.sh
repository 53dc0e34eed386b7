#!/usr/bin/env bash
# Runs every check of the project and ends with a table: what ran, how long it took, what was skipped and why.
# It installs nothing (`make test` calls scripts/setup.sh first). A failing step does not keep the others from running.
#
# Everything uses the release profile and one target directory, so that no library is built twice. The full logs, the
# table and the list of skipped tests lie in target/ci-logs. Fails when a step fails, and when a test that
# tests/mandatory.txt names was skipped or did not run.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

logs=target/ci-logs
rm -rf "$logs"
mkdir -p "$logs"
export CARGO_TERM_PROGRESS_WHEN=never
python=python3
[ -x .venv/bin/python ] && python=.venv/bin/python

# Core's whole dependency tree, itself included, may have at most this many crates.
core_crates_max=20

table=()
failures=0
row() { table+=("$(printf '%-14s %-8s %7s  %s' "$@")"); }

# step NAME COMMAND...: runs and times the command, and keeps its output in NAME.log. What the command leaves in
# NAME.note is shown in the table.
step() {
    local name=$1 start=$SECONDS result=ok
    shift
    echo
    echo "=== $name"
    if ! "$@" 2>&1 | tee "$logs/$name.log"; then
        result=FAILED
        failures=$((failures + 1))
    fi
    row "$name" "$result" "$((SECONDS - start)) s" "$(cat "$logs/$name.note" 2>/dev/null)"
    [ "$result" = ok ]
}

not_run() {
    row "$1" "not run" "" "$2"
    failures=$((failures + 1))
}

lockfile() { cargo metadata --all-features --locked --format-version 1 >"$logs/metadata.json"; }

licences() {
    if cargo deny --version >/dev/null 2>&1; then
        echo "by cargo-deny" >"$logs/licences.note"
        cargo deny --locked check licenses bans sources
    else
        echo "by scripts/licences.py" >"$logs/licences.note"
        "$python" -m doctest scripts/licences.py && scripts/licences.py <"$logs/metadata.json"
    fi
}

# The targets of the tests and the program they start, in the one selection of features that the tests use.
build() { cargo build --release --workspace --lib --bins --tests --examples; }

# cargo-nextest gives every test a process and a time limit; plain `cargo test` is enough for a pass.
if cargo nextest --version >/dev/null 2>&1; then
    report=target/nextest/ci/junit.xml
else
    report=$logs/tests.log
fi
tests() {
    if [ "$report" = "$logs/tests.log" ]; then
        echo "by cargo test" >"$logs/tests.note"
        cargo test --release --workspace --lib --bins --tests --examples --no-fail-fast -- --show-output
    else
        echo "by cargo-nextest" >"$logs/tests.note"
        rm -f "$report"
        cargo nextest run --release --workspace --profile ci
    fi
}

# engine_tests STEP FEATURES TARGET...: lints and tests an engine that is behind a feature, in the same target directory,
# and nothing but the tests that are about it.
reports=()
engine_tests() {
    local name=$1 features=$2
    shift 2
    local what=(--release -p ooblex-models --features "$features" "$@")
    cargo clippy "${what[@]}" -- -D warnings || return 1
    if [ "$report" = "$logs/tests.log" ]; then
        cargo test "${what[@]}" --no-fail-fast -- --show-output "$name"
    else
        rm -f "target/nextest/ci-$name/junit.xml"
        cargo nextest run "${what[@]}" --profile "ci-$name" -E "test($name) or test(/^engine::/)"
    fi
}
add_report() {
    if [ "$report" = "$logs/tests.log" ]; then reports+=("$logs/$1.log"); else reports+=("target/nextest/ci-$1/junit.xml"); fi
}

# candle, and ONNX Runtime with its providers for GPUs, which compile and have tests that need no GPU.
candle() { engine_tests candle candle,onnx-tensorrt --lib --test engines; }

# libtorch is made for few machines, so its absence fails in continuous integration alone.
torch() {
    local exports
    exports=$(scripts/libtorch.sh --no-fetch) || return 1
    eval "$exports"
    engine_tests torch torch --test engines
}
torch_or_skip() {
    if [ -z "${CI:-}" ] && ! scripts/libtorch.sh --no-fetch >/dev/null 2>&1; then
        row torch skipped "" "no libtorch; scripts/libtorch.sh fetches it"
    else
        step torch torch
        add_report torch
    fi
}

# The wheel, made of what the tests ran with, and in a clean environment.
wheel() {
    "$python" -m doctest scripts/wheel_check.py || return 1
    PYTHON=$python scripts/wheel.sh test || return 1
    local made
    made=$(echo target/wheel/ooblex-*.whl)
    echo "$(($(stat -c %s "$made") / 1000000)) MB" >"$logs/wheel.note"
}

# The notebooks, which install that wheel.
notebooks() {
    PYTHON=$python scripts/notebooks.sh | tee "$logs/notebooks.txt"
    local status=${PIPESTATUS[0]}
    tail -n 1 "$logs/notebooks.txt" >"$logs/notebooks.note"
    return "$status"
}

docs() { RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps --workspace; }

core_crates() {
    local crates count
    crates=$(cargo tree -p ooblex-core -e normal --no-default-features --prefix none --no-dedupe --format '{p}') || return 1
    crates=$(sort -u <<<"$crates")
    count=$(wc -l <<<"$crates")
    echo "$crates"
    echo "$count crates, at most $core_crates_max" | tee "$logs/core-crates.note"
    [ "$count" -le "$core_crates_max" ]
}

# Seconds that each fuzz target runs: enough to notice what breaks at once; `scripts/fuzz.sh 600` searches.
fuzz_seconds=3
fuzz() {
    scripts/fuzz.sh "$fuzz_seconds" | tee "$logs/fuzz.txt"
    local status=${PIPESTATUS[0]}
    tail -n 1 "$logs/fuzz.txt" >"$logs/fuzz.note"
    return "$status"
}

results() {
    "$python" -m doctest scripts/test_results.py || return 1
    "$python" scripts/test_results.py --mandatory tests/mandatory.txt --skips "$logs/skips.txt" \
        "$report" "$logs/doctests.log" "${reports[@]}" >"$logs/results.txt"
    local status=$?
    cat "$logs/results.txt"
    tail -n 1 "$logs/results.txt" >"$logs/results.note"
    return "$status"
}

step fmt cargo fmt --all --check
step lockfile lockfile
step licences licences
step clippy cargo clippy --release --workspace --all-targets --keep-going -- -D warnings
if step build build; then
    step tests tests
    step doctests cargo test --doc --release --workspace --no-fail-fast
    step candle candle
    add_report candle
    torch_or_skip
    step wheel wheel
    [ -e target/wheel/tests.xml ] && reports+=(target/wheel/tests.xml)
    step notebooks notebooks
    step results results
else
    for name in tests doctests candle torch wheel notebooks results; do not_run "$name" "the build failed"; done
fi
step fuzz fuzz
step docs docs
step core-alone cargo build --release -p ooblex-core --no-default-features
step mjpeg-alone cargo build --release -p ooblex-mjpeg --no-default-features
step core-crates core_crates

{
    printf '%-14s %-8s %7s  %s\n' step result time note
    printf '%s\n' "${table[@]}"
    echo
    if [ -s "$logs/skips.txt" ]; then
        echo "skipped tests:"
        sed 's/^/  /' "$logs/skips.txt"
        echo
    fi
    # What test_results.py found wrong; its last line is the count.
    sed '$d' "$logs/results.txt" 2>/dev/null
    echo "$failures of ${#table[@]} steps failed after $((SECONDS / 60)) min $((SECONDS % 60)) s; logs in $logs"
    tail -n 1 "$logs/results.txt" 2>/dev/null || echo "0 passed, 0 failed, 0 skipped"
} >"$logs/summary.txt"
echo
cat "$logs/summary.txt"
[ "$failures" = 0 ]
