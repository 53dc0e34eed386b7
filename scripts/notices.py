#!/usr/bin/env python3
"""Writes the licences of everything that is compiled into the server, for whoever passes the program on.

    scripts/notices.py FILE

Takes the texts from the sources of the crates, each text once with the crates that it is for, and that of libvpx from its
Debian package. Crates that bring no text are listed with their licence and where they come from.
"""

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

PACKAGE = "ooblex-colab"
# C libraries that crates bring and that have licences of their own, by crate: where below its folder.
BUNDLED = {"openh264-sys2": ["upstream/LICENSE"], "turbojpeg-sys": ["libjpeg-turbo/LICENSE.md", "libjpeg-turbo/README.ijg"]}
DEBIAN = Path("/usr/share/doc/libvpx-dev/copyright")
IS_TEXT = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense)", re.IGNORECASE)


def packages():
    """The packages that `PACKAGE` is made of with its default features, without those of this repository."""
    tree = ["cargo", "tree", "--locked", "-p", PACKAGE, "-e", "normal", "--prefix", "none", "--no-dedupe", "--format", "{p}"]
    lines = subprocess.run(tree, check=True, capture_output=True, text=True).stdout.splitlines()
    used = {tuple(line.split(" ")[:2]) for line in lines if line}
    metadata = ["cargo", "metadata", "--locked", "--format-version", "1"]
    for package in json.loads(subprocess.run(metadata, check=True, capture_output=True, text=True).stdout)["packages"]:
        if package["source"] and (package["name"], "v" + package["version"]) in used:
            yield package


def texts(package):
    folder = Path(package["manifest_path"]).parent
    named = [folder / package["license_file"]] if package["license_file"] else []
    found = [path for path in sorted(folder.iterdir()) if path.is_file() and IS_TEXT.search(path.name)]
    bundled = [folder / name for name in BUNDLED.get(package["name"], [])]
    for path in [*named, *found, *bundled]:
        yield path.read_text("utf-8", "replace").strip()


def main():
    users, without = defaultdict(set), []
    for package in packages():
        name = f"{package['name']} {package['version']} ({package['license'] or 'see below'})"
        found = list(texts(package))
        if not found:
            without.append(f"{name}, {package['repository']}")
        for text in found:
            users[text].add(name)
    users[DEBIAN.read_text("utf-8").strip()].add("libvpx")
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        out.write("What the program ooblex-colab is made of besides Ooblex itself, and under which licences.\n\n")
        out.write("Without a text in their sources:\n" + "".join(f"{name}\n" for name in sorted(without)))
        for text, names in sorted(users.items(), key=lambda item: sorted(item[1])):
            out.write(f"\n{'=' * 100}\n{chr(10).join(sorted(names))}\n{'-' * 100}\n{text}\n")
    print(f"{sys.argv[1]}: {len(users)} texts")


if __name__ == "__main__":
    main()
