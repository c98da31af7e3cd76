"""Every boundary at which the worker or its step can die, and what must hold after each.

A target is one thread between two gates: the handler that accepts `start`, the runner around one
step, or one step itself. A point is a target, a call, and the number of that call before which
the process is killed.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testing.crash import compare
from testing.crash.machine import Machine
from testing.crash.tracing import Tracer, kill_before, wait_until

START = "start"
RUNNER = "run@"
STEP = "step:"
RECOVERY_S = 60.0


@dataclass(frozen=True, order=True)
class Point:
    """Kill `target` before its `number`-th `call`."""

    target: str
    call: str
    number: int

    def __str__(self) -> str:
        return f"{self.target} {self.call}#{self.number}"

    @property
    def step(self) -> str:
        """The step it happens in or around; empty for the start of the run."""
        return (
            self.target.partition(":")[2] if self.target.startswith(STEP) else self.target.partition("@")[2]
        )

    @property
    def snapshot(self) -> str:
        return f"{STEP}{self.step}" if self.step else "base"

    @property
    def gate(self) -> str:
        if self.target.startswith(RUNNER):
            return "run"
        return self.target


@dataclass
class Reference:
    """One undisturbed run: its steps, its end, and how many calls each target made."""

    answers: dict[str, Any]
    steps: list[str]
    final: dict[str, str] = field(default_factory=dict)
    effects: set[str] = field(default_factory=set)
    pictures: dict[str, dict[str, str]] = field(default_factory=dict)
    counts: dict[str, Counter[str]] = field(default_factory=dict)

    def points(self) -> list[Point]:
        return [
            Point(target, call, number)
            for target in sorted(self.counts)
            for call, count in sorted(self.counts[target].items())
            for number in range(1, count + 1)
        ]


@dataclass(frozen=True)
class Outcome:
    """What became of one point. No complaints means that everything held."""

    point: Point
    killed: bool
    retried: bool
    complaints: tuple[str, ...]


class Story:
    """A machine with its reference run; tells what happens at a point."""

    def __init__(self, machine: Machine, steps: list[str]) -> None:
        self.machine = machine
        self.reference = Reference(machine.build(), steps)
        self._traces = machine.place / "traces"
        self._traces.mkdir()
        self._watch_one_run()
        self._count_the_runner()

    # --- the undisturbed run -----------------------------------------------------------------

    def _watch_one_run(self) -> None:
        """Keep the root and count calls at the start of every step; then keep the end."""
        machine, reference = self.machine, self.reference
        machine.put_back("base")
        machine.start(START, *(f"{STEP}{step}" for step in reference.steps))
        machine.listening()
        with self._asking_for_start():
            self._count(START, START)
            for step in reference.steps:
                self._count(f"{STEP}{step}", f"{STEP}{step}", keep=True)
        try:
            wait_until(
                lambda: self._status() == "completed", "the reference run completes", timeout=RECOVERY_S
            )
        except AssertionError as error:
            report = machine.root / "var/lib/blockhost/validation-output.txt"
            failed = [line for line in report.read_text().splitlines() if line.startswith("FAIL")]
            raise AssertionError(f"{error}: {(machine.ask('status') or {}).get('error')} {failed}") from None
        machine.kill()
        reference.final = compare.picture(machine.root)
        reference.effects = compare.effects(machine.root)

    def _count_the_runner(self) -> None:
        """Count the runner's calls from each step's beginning to the next step's."""
        machine, reference = self.machine, self.reference
        for index, step in enumerate(reference.steps):
            following = [f"{STEP}{name}" for name in reference.steps[index + 1 : index + 2]]
            machine.put_back(f"{STEP}{step}")
            machine.start("run", *following)
            log = self._traces / f"{RUNNER}{step}"
            with machine.held("run") as (_, tid):
                tracer = Tracer(tid, log)
            if following:
                with machine.held(following[0]):
                    tracer.detach()
                    machine.kill()
            else:
                tracer.finish()
                machine.kill()
            reference.counts[f"{RUNNER}{step}"] = tracer.counts()

    def _count(self, target: str, gate: str, *, keep: bool = False) -> None:
        log = self._traces / target
        with self.machine.held(gate) as (_, tid):
            if keep:
                self.machine.keep(target)
                self.reference.pictures[target] = compare.picture(self.machine.root)
            tracer = Tracer(tid, log)
        if target == START:  # this thread goes on to serve others
            wait_until(lambda: self._status() == "running", "the run is accepted")
            tracer.detach()
        else:
            tracer.finish()
        self.reference.counts[target] = tracer.counts()

    # --- one death -----------------------------------------------------------------------------

    def tell(self, point: Point, *, to_the_end: bool = True) -> Outcome:
        """Kill at the point, start again, and look whether anything was lost or done twice.

        With `to_the_end` false the run is followed to the beginning of the next step only, whose
        root must look as it did in the reference run.
        """
        machine = self.machine
        machine.put_back(point.snapshot)
        try:
            killed = self._kill_at(point)
        except AssertionError as error:  # a step that never runs again, for one
            complaints = (f"before the kill: {error}\n{machine.log()}",)
            machine.kill()
            return Outcome(point, killed=False, retried=False, complaints=complaints)
        acknowledged, news = self._acknowledged(), self._events()
        machine.kill()
        # Where the call was not made this time, the run went on to its end.
        following = self._following(point) if killed and not to_the_end else ""
        machine.start(*([following] if following else []))
        try:
            retried = self._recover(following)
            complaints = list(self._complaints(acknowledged, len(news), following))
        except AssertionError as error:
            retried, complaints = False, [f"{error}\n{machine.log()}"]
        if complaints:
            complaints.append(
                f"killed: {killed}\n{(self._traces / 'kill').read_text(errors='replace')[-1500:]}"
            )
        machine.kill()
        return Outcome(point, killed=killed, retried=retried, complaints=tuple(complaints))

    def _kill_at(self, point: Point) -> bool:
        machine = self.machine
        machine.start(point.gate)
        log = self._traces / "kill"
        log.unlink(missing_ok=True)
        if point.target != START:
            with machine.held(point.gate) as (_, tid):
                tracer = kill_before(tid, log, point.call, point.number)
            tracer.finish()
            return tracer.killed()
        machine.listening()
        with self._asking_for_start():
            with machine.held(point.gate) as (_, tid):
                tracer = kill_before(tid, log, point.call, point.number)
            wait_until(
                lambda: tracer.killed() or self._status() == "completed", "the end of `start`", timeout=60
            )
            tracer.detach()
        return tracer.killed()

    def _recover(self, following: str) -> bool:
        """Let the new worker go on; do what an operator would where it waits for one."""
        machine = self.machine
        retried = False

        def done() -> bool:
            nonlocal retried
            if following and (machine.gates / following).exists():
                return True
            status = self._status()
            if status == "pending":
                machine.ask("start", answers=self.reference.answers)
            elif status == "failed":
                assert not retried, f"failed again: {machine.ask('status')}"
                retried = True
                machine.ask("retry")
            return status == "completed"

        wait_until(done, "the run completes", timeout=RECOVERY_S)
        if following:
            with machine.held(following):
                machine.kill()
        return retried

    def _complaints(self, acknowledged: set[str], seen: int, following: str) -> Iterator[str]:
        machine, reference = self.machine, self.reference
        again = {
            event["step"]
            for event in self._events()[seen:]
            if event["type"] == "step" and event["status"] == "in_progress"
        }
        if repeated := acknowledged & again:
            yield f"completed steps ran again: {sorted(repeated)}"
        expected = reference.pictures[following] if following else reference.final
        yield from compare.differences(expected, compare.picture(machine.root))
        if found := compare.leftovers(machine.root):
            yield f"left behind: {found}"
        if following:
            return
        effects = compare.effects(machine.root)
        if effects != reference.effects:
            yield f"effects differ: {sorted(effects ^ reference.effects)}"
        if not (machine.root / "var/lib/blockhost/.setup-complete").exists():
            yield "no .setup-complete"
        report = json.loads((machine.root / "var/lib/blockhost/validation-output.json").read_text())
        if not report["success"]:
            yield "validation failed"

    # --- looking -------------------------------------------------------------------------------

    def _asking_for_start(self) -> _Asking:
        return _Asking(self.machine, self.reference.answers)

    def _following(self, point: Point) -> str:
        steps = self.reference.steps
        index = steps.index(point.step) + 1 if point.step else 0
        return f"{STEP}{steps[index]}" if index < len(steps) else ""

    def _status(self) -> str:
        return str((self.machine.ask("status") or {}).get("status", ""))

    def _acknowledged(self) -> set[str]:
        """Steps whose completion was durable, or announced."""
        records = self.machine.root / "var/lib/blockhost-setup/finalize"
        done = {path.stem for path in records.glob("*/*.done")}
        announced = {e["step"] for e in self._events() if e["type"] == "step" and e["status"] == "completed"}
        return done | announced

    def _events(self) -> list[dict[str, Any]]:
        file: Path = self.machine.root / "var/lib/blockhost-setup/logs/events.jsonl"
        events = []
        for line in file.read_text().splitlines() if file.exists() else ():
            try:
                events.append(json.loads(line))
            except ValueError:  # the line that was being written
                continue
        return events


class _Asking:
    """Somebody asks for `start` while the harness looks on."""

    def __init__(self, machine: Machine, answers: dict[str, Any]) -> None:
        self._thread = threading.Thread(target=machine.ask, args=("start",), kwargs={"answers": answers})

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join()
