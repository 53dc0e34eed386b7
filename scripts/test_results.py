#!/usr/bin/env python3
"""Reads what the test runners reported and judges it.

    scripts/test_results.py --mandatory tests/mandatory.txt --skips skips.txt REPORT...

A REPORT is a JUnit file of cargo-nextest (`*.xml`) or the log of `cargo test -- --show-output`. A test that cannot
run says so with a line `SKIPPED <test name>: <reason>` in its output and counts as skipped, not as passed; so does an
ignored one. Writes `<test>: <reason>` of each skipped test to the file given by `--skips`, prints what is wrong, and
ends with the line `N passed, N failed, N skipped`. Fails when a test failed, when a report holds no tests at all, or
when a mandatory test was skipped or did not run.
"""

import argparse
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

SKIP = re.compile(r"^\s*SKIPPED (\S+): (.+?)\s*$", re.MULTILINE)
RUNNING = re.compile(r"^\s*Running (?:unittests )?\S+ \(.*/(.+)-[0-9a-f]{16}(?:\.exe)?\)")
DOCTESTS = re.compile(r"^\s*Doc-tests (\S+)")
RESULT = re.compile(r"^test (.+?)(?: - should panic| - compile(?: fail)?)* \.\.\. (ok|FAILED|ignored(?:, (.*))?)$")
OUTPUT = re.compile(r"^---- (.+) stdout ----$")


def from_junit(text):
    """(test, status, output) of each test of a cargo-nextest report. Names are `binary::path`.

    >>> list(from_junit('<testsuites><testsuite name="a::b"><testcase name="c" classname="a::b"/>'
    ...     '<testcase name="d" classname="a::b"><failure/><system-out>x</system-out></testcase>'
    ...     '</testsuite></testsuites>'))
    [('a::b::c', 'passed', ''), ('a::b::d', 'failed', 'x')]
    """
    for case in ElementTree.fromstring(text).iter("testcase"):
        failed = case.find("failure") is not None or case.find("error") is not None
        output = "\n".join(case.findtext(tag) or "" for tag in ("system-out", "system-err")).strip("\n")
        yield f"{case.get('classname')}::{case.get('name')}", "failed" if failed else "passed", output


def from_log(text):
    """(test, status, output) of each test in a log of `cargo test -- --show-output`.

    >>> log = '''     Running unittests src/lib.rs (target/release/deps/core-0123456789abcdef)
    ... test a::b ... ok
    ... test a::c ... ok
    ... test a::d ... FAILED
    ... test a::e ... ignored, needs a camera
    ... ---- a::c stdout ----
    ... SKIPPED a::c: no camera
    ... '''
    >>> list(from_log(log))  # doctest: +NORMALIZE_WHITESPACE
    [('core::a::b', 'passed', ''), ('core::a::c', 'passed', 'SKIPPED a::c: no camera'),
     ('core::a::d', 'failed', ''), ('core::a::e', 'skipped', 'SKIPPED a::e: ignored, needs a camera')]
    """
    binary, statuses, outputs, reading = "", {}, {}, None
    for line in text.splitlines():
        if match := RUNNING.match(line) or DOCTESTS.match(line):
            binary, reading = match[1], None
        elif match := RESULT.match(line):
            name = f"{binary}::{match[1]}"
            statuses[name] = {"ok": "passed", "FAILED": "failed"}.get(match[2], "skipped")
            if statuses[name] == "skipped":
                outputs[name] = [f"SKIPPED {match[1]}: {match[2]}"]
        elif match := OUTPUT.match(line):
            reading = f"{binary}::{match[1]}"
        elif reading:
            outputs.setdefault(reading, []).append(line)
    for name, status in statuses.items():
        yield name, status, "\n".join(outputs.get(name, []))


def same(name, other):
    """Whether one name is the other, or its end on a `::` border. Cargo writes `-` in binary names as `_`.

    >>> same("a-b::c::d", "a_b::c::d"), same("a::c::d", "d"), same("c::d", "a::c::d"), same("a::cd", "d")
    (True, True, True, False)
    """
    name, other = name.replace("-", "_"), other.replace("-", "_")
    return name == other or name.endswith("::" + other) or other.endswith("::" + name)


def judge(tests, mandatory):
    """Turns `tests` (name, status, output) into (counts, skips, complaints).

    >>> tests = [("x::a", "passed", ""), ("x::b", "passed", "SKIPPED b: no VLC"), ("x::c", "failed", "")]
    >>> judge(tests, ["a"])
    ({'passed': 1, 'failed': 1, 'skipped': 1}, {'x::b': 'no VLC'}, ['failed: x::c'])
    >>> judge(tests[:2], ["a", "b", "gone"])[2]
    ['mandatory test skipped: x::b (no VLC)', 'mandatory test did not run: gone']
    """
    statuses, skips = {}, {}
    for name, status, output in tests:
        skip = SKIP.search(output)
        if skip and status != "failed":
            status, skips[name] = "skipped", skip[2]
        # A name that comes twice must pass both times.
        statuses[name] = "failed" if "failed" in (status, statuses.get(name)) else status

    complaints = [f"failed: {name}" for name, status in statuses.items() if status == "failed"]
    for wanted in mandatory:
        matches = [name for name in statuses if same(name, wanted)]
        complaints += [f"mandatory test skipped: {name} ({skips[name]})" for name in matches if name in skips]
        if not matches:
            complaints.append(f"mandatory test did not run: {wanted}")
    counts = {status: list(statuses.values()).count(status) for status in ("passed", "failed", "skipped")}
    return counts, skips, complaints


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mandatory", type=Path, required=True)
    parser.add_argument("--skips", type=Path, required=True)
    parser.add_argument("reports", type=Path, nargs="+")
    args = parser.parse_args()

    tests, complaints = [], []
    for report in args.reports:
        text = report.read_text(errors="replace") if report.exists() else ""
        found = list(from_junit(text) if report.suffix == ".xml" and text else from_log(text))
        if not found:
            complaints.append(f"no test results in {report}")
        tests += found
    lines = (line.split("#")[0].strip() for line in args.mandatory.read_text().splitlines())
    counts, skips, judged = judge(tests, [line for line in lines if line])
    complaints += judged

    args.skips.write_text("".join(f"{name}: {reason}\n" for name, reason in skips.items()))
    for complaint in complaints:
        print(complaint)
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
