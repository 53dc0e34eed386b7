#!/usr/bin/env bash
# Runs the notebooks of ooblex-colab/notebooks with Jupyter, in a clean environment into which they install the wheel that
# scripts/wheel.sh made. What only Colab has is stood in for by tests/python/shim.
#
# With OOBLEX_BIN set there need be no wheel: that program is started by the Python package of the checkout.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-$PWD/.venv/bin/python}
out=$PWD/target/notebooks
if ! "$python" -c 'import ipykernel, nbclient' 2>/dev/null; then
    echo "notebooks: $python has no ipykernel and nbclient; scripts/setup.sh test installs them, PYTHON names another one" >&2
    exit 1
fi
rm -rf "$out"
"$python" -m venv "$out/venv"
# Jupyter and OpenCV come from the environment of the tests; pip installs into the clean one.
"$python" -c 'import site, sys; print(*(p for p in sys.path if p.endswith("site-packages")), sep="\n")' \
    >"$("$out/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tests.pth"

wheel=
path=$PWD/tests/python/shim
if [ -n "${OOBLEX_BIN:-}" ]; then
    path=$path:$PWD/ooblex-colab/python
else
    wheel=$(compgen -G "$PWD/target/wheel/ooblex-*.whl") || {
        echo "notebooks: no wheel in target/wheel; scripts/wheel.sh makes it, or OOBLEX_BIN names a program" >&2
        exit 1
    }
fi
PYTHONPATH=$path "$out/venv/bin/python" tests/python/run_notebooks.py "$out" "$wheel"
