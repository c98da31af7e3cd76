"""`make bench`: every measurement as a ratio, with the limit it must keep.

python -m testing.bench [NAME…] [--format json]
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence

#: Measurements by name; the ones that need an ISO and a VM are asked for by name.
QUICK = ("runner", "wizard", "memory", "vm_db", "agent")
SLOW = ("rebuild", "power_on", "create")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*QUICK, *SLOW, []], default=list(QUICK))
    parser.add_argument("--format", choices=("text", "json"), default="text")
    options = parser.parse_args(argv)
    ratios = []
    for name in options.names:
        for ratio in importlib.import_module(f"testing.bench.{name}").measure():
            ratios.append(ratio)
            if options.format == "text":
                print(ratio.as_line(), flush=True)
    if options.format == "json":
        print(json.dumps([ratio.as_json() for ratio in ratios], indent=2))
    return 0 if all(ratio.holds for ratio in ratios) else 1


if __name__ == "__main__":
    sys.exit(main())
