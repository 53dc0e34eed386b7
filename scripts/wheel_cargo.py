#!/usr/bin/env python3
"""What maturin takes for cargo (the variable CARGO) when scripts/wheel.sh calls it.

Alone, the package of the server has a smaller selection of features than in the workspace, so that `cargo rustc`, which
maturin runs, would compile it again with most of its libraries. This builds what the tests are run with, which is done
already, and hands out the server of that build, without symbols. Everything else goes to cargo.
"""

import json
import os
import subprocess
import sys

PROGRAM = "ooblex-colab"
BUILD = "cargo build --release --workspace --lib --bins --tests --examples --message-format=json-render-diagnostics"


def main():
    # Cargo tells it on, and then what was built with another one is built again.
    os.environ.pop("CARGO", None)
    if sys.argv[1:2] != ["rustc"]:
        os.execvp("cargo", ["cargo", *sys.argv[1:]])
    built = subprocess.run(BUILD.split(), stdout=subprocess.PIPE)
    if built.returncode:
        return built.returncode
    for message in map(json.loads, built.stdout.splitlines()):
        target = message.get("target", {})
        # Its unit tests are a program of that name, too.
        is_test = message.get("profile", {}).get("test")
        if target.get("name") == PROGRAM and target.get("kind") == ["bin"] and not is_test:
            stripped = os.path.join(os.environ["STAGE"], PROGRAM)
            subprocess.run(["strip", "-s", "-o", stripped, message["executable"]], check=True)
            message.update(executable=stripped, filenames=[stripped])
            print(json.dumps(message))
    print(json.dumps({"reason": "build-finished", "success": True}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
