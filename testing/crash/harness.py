"""The harness: some machines, and points handed to whichever is free."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import Empty
from typing import Any

from testing.crash.machine import Machine
from testing.crash.points import Outcome, Point
from testing.crash.story import Story

#: In contract order, with the two plugins of this tree.
STEPS = [
    *("ledger", "engine_config", "storage", "network", "template", "ipv6", "https", "signup", "nginx"),
    *("mint_nft", "plan", "monitor", "finalize", "validate"),
]
#: Fewer points than this mean that something is no longer looked at.
FEWEST_DEATHS = 1000
FEWEST_ERRORS = 2000
#: Every so many points the run is followed to its very end, not only to the next step.
TO_THE_END = 10


@dataclass(frozen=True)
class Order:
    """A point that is to be told: how far the run is followed, and with which defect planted."""

    point: Point
    to_the_end: bool = False
    plant: str = ""


@dataclass(frozen=True)
class Points:
    """All there are, sorted."""

    deaths: list[Point]
    errors: list[Point]
    full_disks: list[Point]


def sample(points: Sequence[Point], size: int, seed: str) -> list[Point]:
    """A part of the points that changes with the seed, spread evenly over all targets."""
    ordered = sorted(points)
    chance = random.Random(seed)
    stride = len(ordered) / size if size else 0
    return [ordered[int(i * stride + chance.random() * stride)] for i in range(min(size, len(ordered)))]


def one_each(points: Sequence[Point], seed: str) -> list[Point]:
    """Every call once, with one of its errnos; which one changes with the seed."""
    calls: dict[tuple[str, str, int], list[Point]] = {}
    for point in sorted(points):
        calls.setdefault((point.target, point.call, point.number), []).append(point)
    chance = random.Random(seed)
    return [chance.choice(same) for same in calls.values()]


def orders(points: Sequence[Point], *, full: bool = False, plant: str = "") -> list[Order]:
    """These points, with every so many followed to the end."""
    return [Order(point, full or number % TO_THE_END == 0, plant) for number, point in enumerate(points)]


def todays_seed() -> str:
    """The same all day, so that a failure can be looked at again."""
    return os.environ.get("BLOCKHOST_CRASH_SEED") or datetime.now(UTC).strftime("%Y-%m-%d")


def _work(slot: int, wanted: Any, answers: Any) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the machine is closed
    machine = Machine()
    try:
        story = Story(machine, STEPS)
        reference = story.reference
        full = reference.full_disks() if machine.has_own_disk else []
        answers.put(("points", slot, Points(reference.deaths(), reference.errors(), full)))
        while (order := wanted.get()) is not None:
            told = story.tell(order.point, to_the_end=order.to_the_end, plant=order.plant)
            answers.put(("outcome", slot, told))
    except BaseException as error:
        answers.put(("broken", slot, f"{type(error).__name__}: {error}"))
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # being told to end while ending leaves nothing behind
        machine.close()


def _silent(outcome: Outcome, number: int, total: int) -> None:
    """Nobody watches."""


def tell_points(
    choose: Callable[[Points], Sequence[Order]],
    jobs: int,
    *,
    tell: Callable[[Outcome, int, int], None] = _silent,
) -> tuple[Points, list[Outcome]]:
    """Have the chosen ones of all points told by `jobs` machines; all points, and every outcome."""
    context = multiprocessing.get_context("spawn")
    wanted, answers = context.Queue(), context.Queue()
    slots = [context.Process(target=_work, args=(slot, wanted, answers)) for slot in range(jobs)]
    for process in slots:
        process.start()
    points: Points | None = None
    outcomes: list[Outcome] = []
    chosen: Sequence[Order] = ()
    try:
        while points is None or len(outcomes) < len(chosen):
            kind, _, what = _next(answers, slots)
            if kind == "broken":
                raise AssertionError(what)
            if kind == "points" and points is None:
                points, chosen = what, choose(what)
                for order in (*chosen, *(None for _ in slots)):
                    wanted.put(order)
            elif kind == "outcome":
                outcomes.append(what)
                tell(what, len(outcomes), len(chosen))
    finally:
        for process in slots:
            if points is None or len(outcomes) < len(chosen):
                process.terminate()
            while process.is_alive():  # it ends once somebody took what it still has to say
                with contextlib.suppress(Empty):
                    answers.get(timeout=0.1)
    return points, outcomes


def _next(answers: Any, slots: list[Any]) -> Any:
    while True:
        try:
            return answers.get(timeout=5)
        except Empty:
            if not any(process.is_alive() for process in slots):
                raise AssertionError("every machine of the harness has ended early") from None
