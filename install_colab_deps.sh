#!/usr/bin/env bash
# The deployment plan's name for installing the wheel, which has no dependencies; docs/COLAB.md says what it replaces.
#
#   install_colab_deps.sh WHEEL[EXTRA]     a path, for example dist/ooblex-0.1.0-py3-none-manylinux_2_35_x86_64.whl[gpu]
set -euo pipefail
if [ $# != 1 ]; then
    echo "usage: install_colab_deps.sh WHEEL; scripts/wheel.sh makes one, docs/COLAB.md says where else to get it" >&2
    exit 2
fi
exec python3 -m pip install -q "$1"
