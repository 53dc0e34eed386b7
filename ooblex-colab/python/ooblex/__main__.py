"""``python -m ooblex`` is the program ``ooblex-colab``."""

import os
import sys

from ._program import program

path = program()
# The program would take it for a setting.
os.environ.pop("OOBLEX_BIN", None)
os.execv(path, [path, *sys.argv[1:]])
