"""What the runner costs per step, against the durable writes that a step must make.

Peer: the bare writes, done by the library's own primitive in the same directory: "begun" (new file)
and "done" (new file, the open one unlinked). Measured with steps in this process and with steps
in children; growth is the cost per step of 1,000 steps over that of 100.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from blockhost.files import write_atomic
from blockhost.pipeline import Record, RecordStore, Runner, Status, Step, StepContext
from blockhost.pipeline.child import ChildLauncher, InlineLauncher
from blockhost.pipeline.records import _dump
from testing.bench.ratio import Ratio

ROUNDS = 5
STEPS = 100


def nothing(context: StepContext) -> None:
    """A step without an effect: what is left is the runner."""


def plan(count: int = STEPS) -> list[Step]:
    return [Step(f"s{number}", "", apply=nothing) for number in range(count)]


def seconds_per_step(run: Callable[[Path, int], None], count: int = STEPS) -> float:
    """Median over rounds, each in a fresh directory on the same disk."""
    taken = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(dir=Path(__file__).parents[2] / "build") as directory:
            started = time.perf_counter()
            run(Path(directory), count)
            taken.append((time.perf_counter() - started) / count)
    return statistics.median(taken)


def bare_writes(directory: Path, count: int) -> None:
    begun = _dump(Record("s", status=Status.IN_PROGRESS, attempt=1, started_at=time.time()))
    done = _dump(Record("s", status=Status.COMPLETED, attempt=1, started_at=1.0, completed_at=2.0))
    for number in range(count):
        write_atomic(directory / f"s{number}.open", begun, mode=0o600)
        write_atomic(directory / f"s{number}.done", done, mode=0o600)
        (directory / f"s{number}.open").unlink()


def inline(directory: Path, count: int) -> None:
    assert Runner(plan(count), RecordStore(directory), InlineLauncher()).run()


def children(directory: Path, count: int) -> None:
    launcher = ChildLauncher("testing.bench.runner:plan")
    assert Runner(plan(count), RecordStore(directory), launcher).run()


def measure() -> list[Ratio]:
    (Path(__file__).parents[2] / "build").mkdir(exist_ok=True)
    children_warm_up()
    bare, in_process, in_child = (seconds_per_step(run) for run in (bare_writes, inline, children))
    long = seconds_per_step(inline, 1000)
    return [
        Ratio("runner: a step in this process / bare durable writes", in_process, bare, limit=2.0, unit="s"),
        Ratio("runner: a step in a child / bare durable writes", in_child, bare, limit=None, unit="s"),
        Ratio("runner: per step, 1,000 steps / 100 steps", long, in_process, limit=1.25, unit="s"),
    ]


def children_warm_up() -> None:
    """Start the fork server: it is started once for a run, not for a step."""
    with tempfile.TemporaryDirectory() as directory:
        children(Path(directory), 1)
