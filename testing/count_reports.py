"""Adds up the suites' reports: what ran, what was skipped and why; a suite without a test fails."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

#: A suite that shrinks below this has lost tests, not gained speed.
FEWEST = {"unit": 2000, "integration": 150, "nspawn": 40, "browser": 10, "crash": 5}


def main(argv: list[str]) -> int:
    directory, *suites = argv
    passed = failed = 0
    sound = True
    for suite in suites:
        path = Path(directory) / f"{suite}.xml"
        if not path.exists():
            print(f"  {suite}: no report, so nothing ran")
            sound = False
            continue
        cases = list(ElementTree.parse(path).getroot().iter("testcase"))
        bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
        skipped = [case for case in cases if case.find("skipped") is not None]
        ran = len(cases) - len(skipped)
        passed, failed = passed + ran - len(bad), failed + len(bad)
        print(f"  {suite:12} {ran} ran, {len(bad)} failed, {len(skipped)} skipped")
        for case in skipped:
            reason = case.find("skipped")
            assert reason is not None
            print(f"    skipped: {case.get('classname')}::{case.get('name')}: {reason.get('message')}")
        if ran < FEWEST.get(suite, 1):
            print(f"  {suite}: only {ran} tests ran, expected at least {FEWEST[suite]}")
            sound = False
    print(f"{passed} passed, {failed} failed")
    return 0 if sound and failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
