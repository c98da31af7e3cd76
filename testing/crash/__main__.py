"""`python3 -m testing.crash`: kill the worker and its steps at every state-changing call.

Tells each point that broke a promise, and how many points there were.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence

from testing.crash.harness import FEWEST_POINTS, kill_everywhere
from testing.crash.points import Outcome


def _tell(outcome: Outcome, number: int, total: int) -> None:
    if outcome.complaints:
        print(f"BROKEN {outcome.point}", *outcome.complaints, sep="\n    ", flush=True)
    elif number % 50 == 0 or number == total:
        print(f"{number}/{total}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="crash", description=__doc__)
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="only N points (default: all)")
    parser.add_argument("--only", default="", metavar="TARGET", help="only points of this target")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--full", action="store_true", help="follow every run to its end")
    parser.add_argument("--plant", default="", choices=("", "record-before-effect"), help="a defect to find")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the machines are closed
    started = time.monotonic()
    total, outcomes = kill_everywhere(
        options.sample,
        options.jobs,
        plant=options.plant,
        full=options.full,
        only=options.only,
        tell=_tell,
    )
    broken = [outcome for outcome in outcomes if outcome.complaints]
    killed = sum(outcome.killed for outcome in outcomes)
    print(
        f"{total} crash points; {len(outcomes)} told, {killed} killed, "
        f"{sum(o.retried for o in outcomes)} retried by the operator, the others went on by themselves; "
        f"{len(broken)} broke a promise; {time.monotonic() - started:.0f} s"
    )
    if total < FEWEST_POINTS:
        print(f"only {total} points, expected at least {FEWEST_POINTS}: what is no longer looked at?")
        return 1
    return 1 if broken or killed < 0.9 * len(outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
