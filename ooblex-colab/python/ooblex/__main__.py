"""``python -m ooblex`` is the program ``ooblex-colab``."""

import os
import sys

from ._program import program

path = program()
os.execv(path, [path, *sys.argv[1:]])
