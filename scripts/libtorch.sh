#!/usr/bin/env bash
# Puts libtorch into $BUILD_CACHE/libtorch and prints what to export for building and running with the feature `torch`:
#
#     eval "$(scripts/libtorch.sh)" && cargo test --release -p ooblex-models --features torch --test engines_torch
#
# The crate `tch` wants exactly this version. It comes out of the PyPI package of torch, of which the CPU half alone is
# kept, 480 of 1,500 MB: the library that computes on the CPU also runs without the one for CUDA, but links to two small
# CUDA libraries, which their own packages bring, and to a collecting library, for which an empty one stands in. Costs
# nothing when it is all there; the first time it downloads 580 MB. With --no-fetch it fails instead.
#
#   BUILD_CACHE   where it lies (default: $XDG_CACHE_HOME/ooblex or ~/.cache/ooblex)
set -euo pipefail

version=2.13.0
cache=${BUILD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ooblex}
root=$cache/libtorch
say() { echo "libtorch: $*" >&2; }

if [ "$(cat "$root/complete" 2>/dev/null)" != "$version" ]; then
    if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
        say "this recipe is for Linux on x86-64; elsewhere set LIBTORCH to a libtorch $version"
        exit 1
    fi
    if [ "${1:-}" = --no-fetch ]; then
        say "no libtorch in $root; scripts/libtorch.sh fetches it"
        exit 1
    fi
    say "fetching torch $version into $root"
    rm -rf "$root"
    mkdir -p "$root/wheels"
    trap 'rm -rf "$root/wheels"' EXIT
    python=$cache/venv/bin/python
    [ -x "$python" ] || python=python3
    fetch() {
        "$python" -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: \
            --python-version 3.11 --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 \
            --platform manylinux_2_17_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_25_x86_64 \
            --platform manylinux1_x86_64 -d "$root/wheels" "$@" >&2
    }
    fetch "torch==$version"
    fetch 'nvidia-cuda-cupti>=13,<13.1' 'nvidia-cuda-runtime>=13,<13.1'
    "$python" - "$root" <<'PYTHON'
import pathlib, sys, zipfile

root = pathlib.Path(sys.argv[1])
CUDA = ("libtorch_cuda", "libtorch_nvshmem", "libc10_cuda", "libtorch_python", "libcaffe2_nvrtc", "libtorch.so")
for wheel in sorted((root / "wheels").glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            path = pathlib.PurePosixPath(name)
            torch = name.startswith(("torch/lib/", "torch/include/")) and not path.name.startswith(CUDA)
            if torch or (name.startswith("nvidia/") and ".so" in path.name):
                archive.extract(name, root)
PYTHON
    cc -shared -x c /dev/null -o "$root/torch/lib/libtorch.so" -Wl,-soname,libtorch.so
    # Written last: what was interrupted counts as nothing.
    echo "$version" >"$root/complete"
fi

echo "export LIBTORCH='$root/torch'"
echo "export LD_LIBRARY_PATH='$root/torch/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}'"
