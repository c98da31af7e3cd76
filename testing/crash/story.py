"""One machine's reference run, and what happens at each point: told step by step, then judged."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from testing.crash import compare
from testing.crash.machine import Machine
from testing.crash.points import FULL, RUNNER, START, STEP, Outcome, Point, Reference
from testing.crash.tracing import Tracer, wait_until

RECOVERY_S = 60.0
#: Each look costs the worker some work.
LOOK_S = 0.01


class Story:
    """A machine with its reference run; tells what happens at a point."""

    def __init__(self, machine: Machine, steps: list[str]) -> None:
        self.machine = machine
        self.reference = Reference(machine.root, machine.build(), steps)
        self._traces = machine.place / "traces"
        self._traces.mkdir()
        #: What the last one who asked for `start` was told.
        self._answer: dict[str, Any] = {}
        self._watch_one_run()
        self._watch_the_runner()

    # --- the undisturbed run -----------------------------------------------------------------

    def _watch_one_run(self) -> None:
        """Keep the root and list calls at the start of every step; then keep the end."""
        machine, reference = self.machine, self.reference
        machine.put_back("base")
        machine.start(START, *(f"{STEP}{step}" for step in reference.steps))
        machine.listening()
        with self._asking_for_start():
            self._watch(START, START)
            for step in reference.steps:
                self._watch(f"{STEP}{step}", f"{STEP}{step}", keep=True)
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

    def _watch_the_runner(self) -> None:
        """List the runner's calls from each step's beginning to the next step's."""
        machine, reference = self.machine, self.reference
        for index, step in enumerate(reference.steps):
            following = [f"{STEP}{name}" for name in reference.steps[index + 1 : index + 2]]
            machine.put_back(f"{STEP}{step}")
            machine.start("run", *following)
            with machine.held("run") as (_, tid):
                tracer = Tracer(tid, self._traces / f"{RUNNER}{step}")
            if following:
                with machine.held(following[0]):
                    tracer.detach()
                    machine.kill()
            else:
                tracer.finish()
                machine.kill()
            reference.calls[f"{RUNNER}{step}"] = tracer.calls()

    def _watch(self, target: str, gate: str, *, keep: bool = False) -> None:
        with self.machine.held(gate) as (_, tid):
            if keep:
                self.machine.keep(target)
                self.reference.pictures[target] = compare.picture(self.machine.root)
            tracer = Tracer(tid, self._traces / target)
        if target == START:  # this thread goes on to serve others
            wait_until(lambda: self._status() == "running", "the run is accepted")
            tracer.detach()
        else:
            tracer.finish()
        self.reference.calls[target] = tracer.calls()

    # --- one point -----------------------------------------------------------------------------

    def tell(self, point: Point, *, to_the_end: bool = True, plant: str = "") -> Outcome:
        """Let the point's fault happen; look whether it was told, and whether anything was lost.

        With `to_the_end` false the run is followed to the beginning of the next step only, whose
        root must look as it did in the reference run. `plant` is a defect of the worker's.
        """
        self.machine.put_back(point.snapshot)
        self.machine.plant = plant
        (self._traces / "strike").unlink(missing_ok=True)
        following = "" if to_the_end else self._following(point)
        struck = retried = False
        complaints: list[str] = []
        try:
            struck = self._struck(point, following)
            acknowledged, news = self._acknowledged(), len(self._events())
            if point.is_death:
                # Where the call was not made this time, the run went on to its end.
                following = following if struck else ""
                self.machine.kill()
                self.machine.start(*([following] if following else []))
            elif struck:
                complaints += self._silences(point, following)
                self.machine.repair()
            retried = self._recover(following)
            complaints += self._losses(acknowledged, news, following)
        except AssertionError as error:  # a step that never runs again, for one
            complaints += [f"{error}\n{self.machine.log()}"]
        if complaints:
            complaints.append(f"struck: {struck}, retried: {retried}\n{self._last_calls()}")
        self.machine.kill()
        self.machine.repair()
        self.machine.plant = ""
        return Outcome(point, struck, retried, tuple(complaints), plant)

    def _struck(self, point: Point, following: str) -> bool:
        """Go on with the fault before it, until the process died, or the run stopped or went on."""
        gates = [point.gate] if point.is_death or not following else [point.gate, following]
        self.machine.start(*gates)

        def over() -> bool:
            if point.is_death:
                return tracer.has_ended() or self._status() == "completed"
            return self._has_reached(following) or self._status() != "running"

        if point.is_lasting:
            with self._going_on(point):
                self.machine.fill()
            wait_until(over, f"the end of {point.target}", every=LOOK_S)
            return True
        with self._fault(point) as tracer:
            if point.is_death and point.target != START:
                tracer.finish()  # at once: nobody is to have time for a last word about a step's death
            else:
                wait_until(over, f"the end of {point.target}", every=LOOK_S)
        return tracer.struck()

    def _last_calls(self) -> str:
        """What the struck thread did around its fault, without the modules that it loaded."""
        log = self._traces / "strike"
        text = log.read_text(errors="replace") if log.exists() else self.machine.log()
        lines = [line[:240] for line in text.splitlines() if '.py"' not in line]
        at = next((i for i, line in enumerate(lines) if "(INJECTED)" in line or "+++" in line), len(lines))
        return "\n".join(lines[max(0, at - 5) : at + 5])

    @contextlib.contextmanager
    def _fault(self, point: Point) -> Iterator[Tracer]:
        """The worker goes on from the point's gate, with the fault before it."""
        with self._going_on(point) as tid:
            tracer = Tracer(tid, self._traces / "strike", point.inject)
        try:
            yield tracer
        finally:
            tracer.detach()

    @contextlib.contextmanager
    def _going_on(self, point: Point) -> Iterator[int]:
        """The thread that stopped at the point's gate; it goes on afterwards."""
        with contextlib.ExitStack() as stack:
            asking = None
            if point.target == START:
                self.machine.listening()
                asking = stack.enter_context(self._asking_for_start())
            _, tid = stack.enter_context(self.machine.held(point.gate))
            yield tid
        self._answer = asking.answer or {} if asking else {}

    def _recover(self, following: str) -> bool:
        """Let the worker go on; do what an operator would where it waits for one."""
        machine = self.machine
        asked = ""

        def done() -> bool:
            nonlocal asked
            if self._has_reached(following):
                return True
            status = self._status()
            if status == "pending":
                machine.ask("start", answers=self.reference.answers)
            elif status == "failed":
                assert asked != "retry", f"failed again: {machine.ask('status')}"
                asked = "retry"
                machine.ask("retry")
            return status == "completed"

        wait_until(done, "the run completes", timeout=RECOVERY_S, every=LOOK_S)
        if following:
            with machine.held(following):
                machine.kill()
        return asked == "retry"

    # --- judging -------------------------------------------------------------------------------

    def _silences(self, point: Point, following: str) -> list[str]:
        """What the operator was not told of a failed call, and what happened behind their back."""
        status = self.machine.ask("status") or {}
        if self._has_reached(following) or status.get("status") == "completed":
            return [f"{point.call} failed, and the run went on"] if point.must_be_told else []
        answer = self._answer if point.target == START else status
        if point.target != START and status.get("status") != "failed":
            return [f"the run stands at {status.get('status')!r}: nobody is told that it stopped"]
        found = [*self._unclear(answer, point.fault), *self._secrets_told()]
        if point.target != START:
            found += self._wrong_place(point, status)
        # What a failed unlink leaves lies there until the retry.
        if not point.call.startswith("unlink") and (left := compare.leftovers(self.machine.root)):
            found.append(f"left behind by the failure: {left}")
        return found

    def _unclear(self, answer: dict[str, Any], fault: str) -> Iterator[str]:
        """A person must be able to act on it: the system's own words for the errno, or a hint."""
        error, hint = str(answer.get("error") or ""), str(answer.get("hint") or "")
        if not error:
            yield "there is no error to read"
        elif "internal error" in error or "Traceback" in error + hint or 'File "' in error + hint:
            yield f"an error for programmers: {error!r} {hint!r}"
        elif os.strerror(getattr(errno, "ENOSPC" if fault == FULL else fault)) not in error and not hint:
            yield f"an error without reason or hint: {error!r}"

    def _wrong_place(self, point: Point, status: dict[str, Any]) -> Iterator[str]:
        """The step that failed is named; what comes after it was not begun."""
        steps = self.reference.steps
        at = steps.index(point.step)
        named = status.get("failed_step")
        # Around a step, the runner also notes the beginning of the next one.
        possible = steps[at : at + 2] if point.target.startswith(RUNNER) else steps[at : at + 1]
        if named not in (possible if at + 1 < len(steps) else [*possible, None]):
            yield f"the step {named!r} is named as failed"
        after = steps.index(named) + 1 if named in steps else len(steps)
        begun = [step for step in steps[after:] if status["steps"][step]["status"] != "pending"]
        if begun:
            yield f"steps ran after the failure of {named}: {begun}"
        if not status["steps"]:
            yield "no step is shown"

    def _secrets_told(self) -> Iterator[str]:
        """No secret in the status, nor in what the worker and its steps wrote down about the failure."""
        texts = {"status": json.dumps(self.machine.ask("status"))}
        logs = self.machine.root / "var/lib/blockhost-setup/logs"
        for file in (self.machine.root / "worker.log", *logs.rglob("*")):
            if file.is_file():
                texts[file.name] = file.read_text(errors="replace")
        for name, secret in self.machine.secrets.items():
            for where, text in texts.items():
                if secret.reveal() in text:
                    yield f"the secret {name} stands in {where}"

    def _losses(self, acknowledged: set[str], seen: int, following: str) -> Iterator[str]:
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

    def _has_reached(self, following: str) -> bool:
        return bool(following) and (self.machine.gates / following).exists()

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
    """Somebody asks for `start` while the harness looks on; `answer` is what they were told."""

    def __init__(self, machine: Machine, answers: dict[str, Any]) -> None:
        self.answer: dict[str, Any] | None = None
        self._thread = threading.Thread(target=self._ask, args=(machine, answers))

    def _ask(self, machine: Machine, answers: dict[str, Any]) -> None:
        self.answer = machine.ask("start", answers=answers)

    def __enter__(self) -> _Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
