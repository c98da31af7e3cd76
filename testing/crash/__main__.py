"""`python3 -m testing.crash`: kill the worker and its steps at every state-changing call, or with
`--errors` have every write of theirs fail: each call with one errno, another one each day.

Tells each point that broke a promise, and how many points there were.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence

from testing.crash.harness import (
    FEWEST_DEATHS,
    FEWEST_ERRORS,
    Order,
    Points,
    one_each,
    orders,
    sample,
    tell_points,
    todays_seed,
)
from testing.crash.points import Outcome

PLANTS = ("", "record-before-effect", "swallowed-fsync", "on-without-record")


def _tell(outcome: Outcome, number: int, total: int) -> None:
    if outcome.complaints:
        print(f"BROKEN {outcome.point}", *outcome.complaints, sep="\n    ", flush=True)
    elif number % 50 == 0 or number == total:
        print(f"{number}/{total}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="crash", description=__doc__)
    parser.add_argument("--errors", action="store_true", help="calls fail with an errno instead of killing")
    parser.add_argument(
        "--every-errno", action="store_true", help="with --errors: each call with all of them"
    )
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="only N points (default: all)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only points with this in their name")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--full", action="store_true", help="follow every run to its end")
    parser.add_argument("--plant", default="", choices=PLANTS, help="a defect to find")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the machines are closed
    started = time.monotonic()

    def choose(points: Points) -> list[Order]:
        every = [*points.errors, *points.full_disks] if options.errors else points.deaths
        chosen = [point for point in every if options.only in str(point)]
        if options.errors and not options.every_errno and not options.sample:
            chosen = one_each(chosen, todays_seed())
        if options.sample:
            chosen = sample(chosen, options.sample, todays_seed())
        return orders(chosen, full=options.full, plant=options.plant)

    points, outcomes = tell_points(choose, options.jobs, tell=_tell)
    broken = [outcome for outcome in outcomes if outcome.complaints]
    struck = sum(outcome.struck for outcome in outcomes)
    total, fewest = (
        (len(points.errors), FEWEST_ERRORS) if options.errors else (len(points.deaths), FEWEST_DEATHS)
    )
    print(
        f"{total} {'errors of calls' if options.errors else 'crash points'}; "
        f"{len(outcomes)} told, {struck} struck, "
        f"{sum(o.retried for o in outcomes)} retried by the operator, the others went on by themselves; "
        f"{len(broken)} broke a promise; {time.monotonic() - started:.0f} s"
    )
    if total < fewest:
        print(f"only {total} points, expected at least {fewest}: what is no longer looked at?")
        return 1
    return 1 if broken or not outcomes or struck < 0.9 * len(outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
