"""The harness: some machines, and points handed to whichever is free."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from queue import Empty
from typing import Any

from testing.crash.machine import Machine
from testing.crash.points import Outcome, Point, Story

#: In contract order, with the two plugins of this tree.
STEPS = [
    *("ledger", "engine_config", "storage", "network", "template", "ipv6", "https", "signup", "nginx"),
    *("mint_nft", "plan", "monitor", "finalize", "validate"),
]
#: Fewer points than this mean that something is no longer looked at.
FEWEST_POINTS = 1000
#: Every so many points the run is followed to its very end, not only to the next step.
TO_THE_END = 10


def sample(points: Sequence[Point], size: int, seed: str) -> list[Point]:
    """A part of the points that changes with the seed, spread evenly over all targets."""
    ordered = sorted(points)
    chance = random.Random(seed)
    stride = len(ordered) / size
    return [ordered[int(i * stride + chance.random() * stride)] for i in range(min(size, len(ordered)))]


def todays_seed() -> str:
    """The same all day, so that a failure can be looked at again."""
    return os.environ.get("BLOCKHOST_CRASH_SEED") or datetime.now(UTC).strftime("%Y-%m-%d")


def _work(slot: int, plant: str, orders: Any, answers: Any) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the machine is closed
    machine = Machine(plant=plant)
    try:
        story = Story(machine, STEPS)
        answers.put(("points", slot, story.reference.points()))
        while (order := orders.get()) is not None:
            point, to_the_end = order
            answers.put(("outcome", slot, story.tell(point, to_the_end=to_the_end)))
    except BaseException as error:
        answers.put(("broken", slot, f"{type(error).__name__}: {error}"))
        raise
    finally:
        machine.close()


def _silent(outcome: Outcome, number: int, total: int) -> None:
    """Nobody watches."""


def kill_everywhere(
    size: int,
    jobs: int,
    *,
    plant: str = "",
    full: bool = False,
    only: str = "",
    tell: Callable[[Outcome, int, int], None] = _silent,
) -> tuple[int, list[Outcome]]:
    """Tell `size` points (0: all) on `jobs` machines; how many points there are, and every outcome.

    `only` keeps to targets that begin so.
    """
    context = multiprocessing.get_context("spawn")
    orders, answers = context.Queue(), context.Queue()
    slots = [context.Process(target=_work, args=(slot, plant, orders, answers)) for slot in range(jobs)]
    for process in slots:
        process.start()
    points: list[Point] = []
    outcomes: list[Outcome] = []
    wanted: list[Point] | None = None
    try:
        while wanted is None or len(outcomes) < len(wanted):
            kind, _, what = _next(answers, slots)
            if kind == "broken":
                raise AssertionError(what)
            if kind == "points" and wanted is None:
                points = what
                chosen = [point for point in points if point.target.startswith(only)]
                wanted = sample(chosen, size, todays_seed()) if size else chosen
                for number, point in enumerate(wanted):
                    orders.put((point, full or number % TO_THE_END == 0))
                for _slot in slots:
                    orders.put(None)
            elif kind == "outcome":
                outcomes.append(what)
                tell(what, len(outcomes), len(wanted or ()))
    finally:
        for process in slots:
            if wanted is None or len(outcomes) < len(wanted):
                process.terminate()
            process.join()
    return len(points), outcomes


def _next(answers: Any, slots: list[Any]) -> Any:
    while True:
        try:
            return answers.get(timeout=5)
        except Empty:
            if not any(process.is_alive() for process in slots):
                raise AssertionError("every machine of the harness has ended early") from None
