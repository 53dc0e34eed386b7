#!/usr/bin/env python3
"""Looks at a wheel: whether it runs on the systems that it is for, holds what it should, and is not too large.

    scripts/wheel_check.py WHEEL

The program may need no symbol of glibc newer than 2.35, which Colab has, and no library but those that every Linux has.
"""

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

NEWEST_GLIBC = (2, 35)
LARGEST = 60 << 20
LIBRARIES = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "libstdc++.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
# Newest versions that GCC 12 brings, as Ubuntu 22.04 has it.
NEWEST_OTHERS = {"GLIBCXX": (3, 4, 30), "CXXABI": (1, 3, 13), "GCC": (12, 0, 0)}
WEIGHTS = Path(__file__).resolve().parents[1] / "ooblex-models/weights"
# These the program holds; the other formats are for engines that the wheel does not have.
COMPILED_IN = {"blazeface_short_128", "selfie_general_256", "selfie_landscape_144x256", "style_multistyle26"}


def too_new(symbols):
    """Versions in the output of `objdump -T` that are too new.

    >>> too_new("(GLIBC_2.35) f (GLIBC_2.2.5) g (GLIBCXX_3.4.30) h (GCC_4.2.0) i")
    []
    >>> too_new("(GLIBC_2.36) f (GLIBC_2.4) g (GLIBC_2.38) h (CXXABI_1.3.14) i (CXXABI_1.3.9) j")
    ['CXXABI_1.3.14', 'GLIBC_2.36', 'GLIBC_2.38']
    """
    newest = {"GLIBC": NEWEST_GLIBC, **NEWEST_OTHERS}
    found = set(re.findall(r"\b(GLIBC|GLIBCXX|CXXABI|GCC)_([0-9.]+)", symbols))
    return sorted(f"{name}_{v}" for name, v in found if tuple(map(int, v.split("."))) > newest[name])


def expected():
    """What must be in the wheel, as ends of names."""
    models = [path.name for path in WEIGHTS.glob("*.onnx") if path.stem not in COMPILED_IN]
    notices = ["NOTICE", *(f"licenses/{path.name}" for path in (WEIGHTS / "licenses").iterdir())]
    yield from (f".data/data/share/ooblex/models/{name}" for name in models + notices)
    yield from (".data/scripts/ooblex-colab", "ooblex/__init__.py", "ooblex/py.typed")
    yield from (f".dist-info/licenses/{name}" for name in ("LICENSE-MIT", "LICENSE-APACHE", "THIRD-PARTY.txt"))


def problems(path):
    if not re.fullmatch(r"ooblex-[0-9.]+-py3-none-manylinux_2_35_\w+\.whl", path.name):
        yield f"its name is {path.name}, which is not for every Python 3 and glibc 2.35"
    if path.stat().st_size > LARGEST:
        yield f"it has {path.stat().st_size} bytes, more than {LARGEST}"
    with zipfile.ZipFile(path) as wheel, tempfile.TemporaryDirectory() as folder:
        names = wheel.namelist()
        yield from (f"{end} is missing" for end in expected() if not any(name.endswith(end) for name in names))
        yield from (f"{name} does not belong in it" for name in names if "tests/" in name or name.endswith(".so"))
        program = wheel.extract(next(name for name in names if name.endswith("scripts/ooblex-colab")), folder)
        symbols = subprocess.run(["objdump", "-T", program], check=True, capture_output=True, text=True).stdout
        yield from (f"the program needs {version}, which Ubuntu 22.04 lacks" for version in too_new(symbols))
        headers = subprocess.run(["objdump", "-p", program], check=True, capture_output=True, text=True).stdout
        needed = set(re.findall(r"NEEDED\s+(\S+)", headers))
        yield from (f"the program needs {library}, which has to be linked in" for library in needed - LIBRARIES)


def main():
    path = Path(sys.argv[1])
    found = list(problems(path))
    for problem in found:
        print(f"wheel: {problem}")
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, {len(found)} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
