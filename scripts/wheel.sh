#!/usr/bin/env bash
# Makes the wheel, target/wheel/ooblex-VERSION-py3-none-PLATFORM.whl, of the same build that the tests are run with.
#
#   scripts/wheel.sh          makes it and looks at what is in it
#   scripts/wheel.sh test     then installs it into a clean environment, where the program examines itself and the tests of
#                             the Python package run; their report is target/wheel/tests.xml
#
# maturin and pytest are those of .venv (`scripts/setup.sh test`), or of the Python that PYTHON names.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-.venv/bin/python}
out=$PWD/target/wheel
stage=$out/stage
if ! "$python" -c 'import maturin, pytest' 2>/dev/null; then
    echo "wheel: $python has no maturin and pytest; scripts/setup.sh test installs them, PYTHON names another one" >&2
    exit 1
fi

rm -rf "$out"
mkdir -p "$stage"
# Named by pyproject.toml; git ignores it.
"$python" scripts/notices.py ooblex-colab/THIRD-PARTY.txt
# The oldest system that must take it is Colab's: Ubuntu 22.04 with glibc 2.35.
STAGE=$stage CARGO=$PWD/scripts/wheel_cargo.py "$python" -m maturin build --release --compatibility manylinux_2_35 \
    --manifest-path ooblex-colab/Cargo.toml --out "$out"
wheel=$(echo "$out"/ooblex-*.whl)
"$python" scripts/wheel_check.py "$wheel"

[ "${1:-}" = test ] || exit 0
# Outside the checkout, where the program would find the models of the sources.
clean=$(mktemp -d)
trap 'rm -rf "$clean"' EXIT
"$python" -m venv "$clean/venv"
"$clean/venv/bin/python" -m pip install -q --disable-pip-version-check --no-index "$wheel"
tests=$PWD/ooblex-colab/python/tests
report=$out/tests.xml
pytest=$("$python" -c 'import pathlib, pytest; print(pathlib.Path(pytest.__file__).parents[1])')
cd "$clean"
unset OOBLEX_BIN PYTHONPATH VIRTUAL_ENV
"$clean/venv/bin/ooblex-colab" --version
"$clean/venv/bin/ooblex-colab" doctor
"$clean/venv/bin/ooblex-colab" models path
# pytest comes last on the path, so that everything else is the clean environment's.
"$clean/venv/bin/python" -c 'import sys; sys.path.append(sys.argv.pop(1)); import pytest; sys.exit(pytest.main(sys.argv[1:]))' \
    "$pytest" -q -p no:cacheprovider --junitxml="$report" "$tests"
