#!/usr/bin/env bash
# Runs the fuzz targets of fuzz/ for so many seconds each, as many side by side as there are processors:
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]     10 seconds and every target by default
#
# They are built by the toolchain that builds everything else, with the flags that `cargo fuzz build --sanitizer none`
# gives (our code has next to no `unsafe` for a sanitizer to watch), so that neither a nightly toolchain nor
# cargo-fuzz is needed; `cargo +nightly fuzz run TARGET` in fuzz/ works, too.
#
# What is built and what was found interesting stays in BUILD_CACHE (default: $XDG_CACHE_HOME/ooblex or
# ~/.cache/ooblex), so that the next run begins there; the seeds in fuzz/corpus are only read. An input that made a
# target fail is left in target/fuzz-artifacts. The last line counts targets: passed, failed, skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-10}
shift || true
[[ $seconds =~ ^[0-9]+$ ]] || {
    echo "usage: scripts/fuzz.sh [SECONDS [TARGET...]]" >&2
    exit 2
}
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(sed -n '/^\[\[bin\]\]/,/^$/s/^name = "\(.*\)"/\1/p' fuzz/Cargo.toml)

cache=${BUILD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ooblex}/fuzz
artifacts=$PWD/target/fuzz-artifacts
logs=$PWD/target/fuzz-logs
mkdir -p "$cache/corpus" "$artifacts" "$logs"

skip() {
    echo "fuzz: skipped, $1"
    echo "0 passed, 0 failed, ${#targets[@]} skipped"
    exit 0
}

host=$(rustc -vV | sed -n 's/^host: //p')
case $host in
    *-linux-gnu) ;;
    *) skip "the coverage that libFuzzer needs was tried on Linux only, this is $host" ;;
esac
command -v c++ >/dev/null || skip "there is no C++ compiler to build libFuzzer with"
export CARGO_TARGET_DIR=$cache/target
cargo fetch -q --manifest-path fuzz/Cargo.toml --target "$host" || skip "its dependencies cannot be fetched"

# Coverage of edges and of compared values, which guide the search. A target triple keeps them out of build scripts.
flags=(-Cpasses=sancov-module)
for option in level=4 inline-8bit-counters pc-table trace-compares stack-depth; do
    flags+=("-Cllvm-args=-sanitizer-coverage-$option")
done
start=$SECONDS
bins=()
for target in "${targets[@]}"; do bins+=(--bin "$target"); done
RUSTFLAGS="--cfg fuzzing ${flags[*]}" \
    cargo build -q --release --manifest-path fuzz/Cargo.toml --target "$host" "${bins[@]}"
echo "fuzz: built in $((SECONDS - start)) s"

# Every run adds to what was found; above this many inputs a target starts over from its seeds.
max_inputs=5000
run() {
    local target=$1 found=$cache/corpus/$1
    mkdir -p "$found" "$artifacts/$target"
    [ "$(find "$found" -type f | wc -l)" -le "$max_inputs" ] || find "$found" -type f -delete
    "$CARGO_TARGET_DIR/$host/release/$target" "$found" "fuzz/corpus/$target" -max_total_time="$seconds" -timeout=20 \
        -rss_limit_mb=2048 -max_len=16384 -artifact_prefix="$artifacts/$target/" -print_final_stats=1 \
        >"$logs/$target.log" 2>&1
}

failed=0
running=0
declare -A names=()
reap() {
    local pid status=0
    wait -n -p pid || status=$?
    running=$((running - 1))
    local name=${names[$pid]}
    local executed
    executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/$name.log")
    if [ "$status" = 0 ]; then
        echo "fuzz: $name: ${executed:-?} inputs"
    else
        failed=$((failed + 1))
        echo "fuzz: $name FAILED; the input is in $artifacts/$name, the end of its log:"
        tail -n 40 "$logs/$name.log"
    fi
}
for target in "${targets[@]}"; do
    [ "$running" -lt "$(nproc)" ] || reap
    run "$target" &
    names[$!]=$target
    running=$((running + 1))
done
while [ "$running" -gt 0 ]; do reap; done
echo "$((${#targets[@]} - failed)) passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
