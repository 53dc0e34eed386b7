#!/usr/bin/env python3
"""Checks the dependency tree against deny.toml, for machines without cargo-deny.

    cargo metadata --all-features --locked --format-version 1 | scripts/licences.py

Fails when a crate's licence expression cannot be met with the licences in `licenses.allow` and those that
`licenses.exceptions` allow for this crate, when a crate that
`bans.deny` marks `deny-multiple-versions` is there in several versions (development dependencies aside, as with
cargo-deny), and when a crate comes from a git repository or from a second registry.
"""

import json
import re
import sys
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    from pip._vendor import tomli as tomllib


def satisfied(expression, allow):
    """Whether an SPDX expression can be met with the allowed licences alone.

    AND binds tighter than OR, and WITH tighter than both; `/` is crates' old spelling of OR.

    >>> allow = {"MIT", "ISC", "Apache-2.0 WITH LLVM-exception"}
    >>> [satisfied(e, allow) for e in ("MIT", "MIT OR GPL-3.0-only", "GPL-3.0-only/MIT", "(MIT AND ISC) OR X")]
    [True, True, True, True]
    >>> [satisfied(e, allow) for e in ("GPL-3.0-only", "MIT AND GPL-3.0-only", "ISC AND (X OR Y)", "Apache-2.0")]
    [False, False, False, False]
    >>> satisfied("MIT OR X AND Y", allow), satisfied("(MIT OR X) AND Y", allow)
    (True, False)
    >>> satisfied("Apache-2.0 WITH LLVM-exception AND MIT", allow), satisfied("MIT WITH X", allow)
    (True, False)
    >>> satisfied("MIT OR", allow)
    Traceback (most recent call last):
    ValueError: malformed licence expression `MIT OR`
    """
    tokens = re.findall(r"[()/]|[^\s()/]+", expression)
    malformed = ValueError(f"malformed licence expression `{expression}`")

    def take(*expected):
        if tokens and tokens[0].upper() in expected:
            return tokens.pop(0)
        return None

    def any_of():
        result = all_of()
        while take("OR", "/"):
            result = all_of() or result
        return result

    def all_of():
        result = one()
        while take("AND"):
            result = one() and result
        return result

    def one():
        if take("("):
            result = any_of()
            if not take(")"):
                raise malformed
            return result
        if not tokens or tokens[0].upper() in ("AND", "OR", "WITH", ")", "/"):
            raise malformed
        name = tokens.pop(0)
        if take("WITH"):
            if not tokens:
                raise malformed
            name += " WITH " + tokens.pop(0)
        return name in allow

    result = any_of()
    if tokens:
        raise malformed
    return result


def shipped(metadata):
    """Ids of the packages that the workspace's members need to build or run, without development dependencies."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    seen, waiting = set(), list(metadata["workspace_members"])
    while waiting:
        package = waiting.pop()
        if package not in seen:
            seen.add(package)
            waiting += [
                dep["pkg"]
                for dep in nodes[package]["deps"]
                if any(kind["kind"] != "dev" for kind in dep["dep_kinds"])
            ]
    return seen


def findings(metadata, policy):
    """Every breach of the policy, one line each."""
    everywhere = set(policy["licenses"]["allow"])
    exceptions = {entry["crate"]: set(entry["allow"]) for entry in policy["licenses"].get("exceptions", [])}
    packages = metadata["packages"]
    for package in packages:
        allow = everywhere | exceptions.get(package["name"], set())
        name = f"{package['name']} {package['version']}"
        licence = package["license"]
        try:
            if not licence:
                yield f"{name}: states no licence"
            elif not satisfied(licence, allow):
                yield f"{name}: licence `{licence}` is not allowed by deny.toml"
        except ValueError as error:
            yield f"{name}: {error}"
        if (package["source"] or "").startswith("git+"):
            yield f"{name}: comes from a git repository"

    registries = {p["source"] for p in packages if (p["source"] or "").startswith(("registry+", "sparse+"))}
    if len(registries) > 1:
        yield f"crates come from several registries: {', '.join(sorted(registries))}"

    single = {entry["crate"] for entry in policy["bans"]["deny"] if entry.get("deny-multiple-versions")}
    kept = shipped(metadata)
    for crate in sorted(single):
        versions = sorted({p["version"] for p in packages if p["name"] == crate and p["id"] in kept})
        if len(versions) > 1:
            yield f"{crate}: several versions in one build: {', '.join(versions)}"


def main():
    policy = tomllib.loads((Path(__file__).parent.parent / "deny.toml").read_text())
    metadata = json.load(sys.stdin)
    found = list(findings(metadata, policy))
    for line in found:
        print(line)
    print(f"{len(metadata['packages'])} packages checked, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
