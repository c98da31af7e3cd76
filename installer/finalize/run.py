"""What a run is: a header with its inputs, a directory of records, and a state derived from both.

The header names the run; its records lie in a directory of that name. So replacing the header is
the one instant at which a run begins or is forgotten: records of any other run mean nothing.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

from blockhost.errors import BlockhostError, DamagedFile, WorkerError
from blockhost.fields import Fields
from blockhost.files import read_sealed, remove_sealed, write_sealed
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.os_errors import explained
from blockhost.paths import setup_dir, state_dir
from blockhost.pipeline.context import StepContext
from blockhost.pipeline.records import Record, RecordStore, Status
from blockhost.pipeline.runner import public
from blockhost.pipeline.step import Step


class RunStatus(StrEnum):
    """Where the setup stands. `interrupted`: begun, unfinished, and nobody at work on it."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Command(StrEnum):
    """What may change a run."""

    START = "start"
    RETRY = "retry"
    CONTINUE = "continue"  # what a starting worker does by itself
    RESET = "reset"
    COMPLETE = "complete"


#: The one table of legal transitions: a command, and the states it may be given in.
LEGAL: Mapping[Command, frozenset[RunStatus]] = {
    Command.START: frozenset({RunStatus.PENDING, RunStatus.FAILED, RunStatus.INTERRUPTED}),
    Command.RETRY: frozenset({RunStatus.FAILED, RunStatus.INTERRUPTED}),
    Command.CONTINUE: frozenset({RunStatus.INTERRUPTED}),
    Command.RESET: frozenset(
        {RunStatus.PENDING, RunStatus.FAILED, RunStatus.INTERRUPTED, RunStatus.COMPLETED}
    ),
    Command.COMPLETE: frozenset({RunStatus.COMPLETED}),
}

_REFUSALS: Mapping[RunStatus, tuple[str, str]] = {
    RunStatus.RUNNING: ("running", N_("the setup is running")),
    RunStatus.COMPLETED: ("completed", N_("the setup is complete")),
    RunStatus.PENDING: ("not-started", N_("the setup has not been started")),
    RunStatus.FAILED: ("not-completed", N_("the setup has failed and is not complete")),
    RunStatus.INTERRUPTED: ("not-completed", N_("the setup is not complete")),
}


def require(command: Command, status: RunStatus, run_id: str) -> None:
    """Refuse a command that is not legal now.

    Raises:
        WorkerError: its code says why; `run_id` is in its data.
    """
    if status not in LEGAL[command]:
        code, text = _REFUSALS[status]
        raise WorkerError(_(text), code=code, data={"run_id": run_id} if run_id else {})


@dataclass(frozen=True, slots=True)
class StepInfo:
    """A step as the plan's process described it: everything but its code."""

    id: str
    label: str
    hint: str = ""
    irreversible: bool = False
    expect_s: tuple[float, float] = (0.0, 60.0)
    timeout_s: float = 600.0

    @classmethod
    def of(cls, step: Step) -> StepInfo:
        low, high = step.expect_s
        return cls(
            step.id, str(step.label), str(step.hint), bool(step.irreversible), (low, high), step.timeout_s
        )

    @classmethod
    def parse(cls, document: object, *, source: str) -> StepInfo:
        fields = Fields(document, source=source)
        low, high = fields.take("expect_s", list)
        return cls(
            id=fields.take("id", str),
            label=fields.take("label", str),
            hint=fields.take("hint", str),
            irreversible=fields.take("irreversible", bool),
            expect_s=(float(low), float(high)),
            timeout_s=fields.take("timeout_s", float),
        )

    @property
    def weight(self) -> float:
        """Its share of the progress bar: how long it usually takes."""
        return max(1.0, sum(self.expect_s) / 2)

    def as_step(self) -> Step:
        """The step as the runner needs it here: its code runs in a child that loads the plan."""
        return Step(
            self.id, self.label, apply=_elsewhere, irreversible=self.irreversible, timeout_s=self.timeout_s
        )


@dataclass(frozen=True, slots=True)
class Header:
    """The inputs of a run. `answers` are as given, secrets by reference; `config` is what steps see."""

    run_id: str
    created_at: float
    answers: Mapping[str, Any]
    config: Mapping[str, Any]
    steps: tuple[StepInfo, ...]
    plan_hash: str = ""

    @classmethod
    def new(
        cls, answers: Mapping[str, Any], config: Mapping[str, Any], steps: Sequence[StepInfo], plan_hash: str
    ) -> Header:
        return cls(secrets.token_hex(8), time.time(), answers, config, tuple(steps), plan_hash)

    @property
    def store(self) -> RecordStore:
        return RecordStore(records_dir() / self.run_id)

    def records(self) -> list[Record]:
        return self.store.all(step.id for step in self.steps)


def records_dir() -> Path:
    """Holds one directory of records for each run."""
    return setup_dir() / "finalize"


def header_file() -> Path:
    return state_dir() / "setup-state.json"


def complete_marker() -> Path:
    """Written last of all: no service of the setup starts again once it is there."""
    return state_dir() / ".setup-complete"


def backup_file() -> Path:
    """The answers, encrypted under the admin signature, for the operator to keep."""
    return state_dir() / "blockhost-config.enc"


def load_header() -> Header | None:
    """The run on this machine, or None.

    Raises:
        DamagedFile: there is a header, but it cannot be trusted; `reset` is the remedy.
    """
    try:
        document = Fields(read_sealed(header_file()), source=str(header_file()))
    except FileNotFoundError:
        return None
    except DamagedFile as damage:
        remedy = _("Run `blockhost-setup reset`; finished work is found again by the steps' checks")
        raise DamagedFile(
            header_file(), _("neither of its generations can be read"), remedy=remedy
        ) from damage
    source = document.source
    return Header(
        run_id=document.take("run_id", str),
        created_at=document.take("created_at", float),
        answers=document.take("answers", dict),
        config=document.take("config", dict),
        steps=tuple(StepInfo.parse(item, source=source) for item in document.take("steps", list)),
        plan_hash=document.take("plan_hash", str),
    )


def save_header(header: Header) -> None:
    write_sealed(header_file(), asdict(header), mode=0o600)


def remove_header() -> None:
    remove_sealed(header_file())


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run broke off when no record could say so: the disk that refuses the record, for one."""

    error: str
    hint: str = ""
    step_id: str = ""

    @classmethod
    def of(cls, error: Exception) -> Stop:
        if isinstance(error, OSError):
            error = explained(error) or error
        if isinstance(error, BlockhostError):
            return cls(str(error), error.hint, getattr(error, "step_id", ""))
        return cls(_("internal error, see the log"))


@dataclass(slots=True)
class View:
    """One look at the setup: header, records, and whether somebody is at work.

    `stop` is how the last run of this process broke off, if it did.
    """

    header: Header | None
    records: list[Record] = field(default_factory=list)
    running: bool = False
    completed: bool = False
    damage: DamagedFile | None = None
    stop: Stop | None = None

    @classmethod
    def look(cls, *, running: bool, stop: Stop | None = None) -> View:
        try:
            header = load_header()
        except DamagedFile as damage:
            return cls(None, running=running, damage=damage)
        records = header.records() if header else []
        return cls(header, records, running, complete_marker().exists(), stop=None if running else stop)

    @property
    def shown(self) -> list[Record]:
        """The records, with the step failed at which the run broke off."""
        records = list(self.records)
        if self.stop and records:
            at = self._stopped_at(self.stop)
            records[at] = replace(
                records[at], status=Status.FAILED, error=self.stop.error, hint=self.stop.hint
            )
        return records

    def _stopped_at(self, stop: Stop) -> int:
        """The step that it names, else the first unfinished one, else the last."""
        named = [i for i, record in enumerate(self.records) if record.step_id == stop.step_id]
        unfinished = [i for i, record in enumerate(self.records) if record.status is not Status.COMPLETED]
        return [*named, *unfinished, len(self.records) - 1][0]

    @property
    def run_id(self) -> str:
        return self.header.run_id if self.header else ""

    @property
    def status(self) -> RunStatus:
        if self.running:
            return RunStatus.RUNNING
        if self.damage or any(record.status is Status.FAILED for record in self.shown):
            return RunStatus.FAILED
        if self.header is None:
            return RunStatus.PENDING
        if self.completed and all(record.status is Status.COMPLETED for record in self.records):
            return RunStatus.COMPLETED
        return RunStatus.INTERRUPTED

    def progress(self, fractions: Mapping[str, float]) -> int:
        """0 to 100: each step weighs what it usually takes; `fractions` of those at work."""
        if self.header is None:
            return 0
        total = sum(step.weight for step in self.header.steps)
        done = 0.0
        for step, record in zip(self.header.steps, self.records, strict=True):
            if record.status is Status.COMPLETED:
                done += step.weight
            elif record.status is Status.IN_PROGRESS:
                done += step.weight * fractions.get(step.id, 0.0)
        return int(100 * done / total) if total else 100

    def as_json(self, fractions: Mapping[str, float]) -> dict[str, Any]:
        """The contract's status document."""
        infos = self.header.steps if self.header else ()
        records = self.shown
        failed = next((record for record in records if record.status is Status.FAILED), None)
        active = next((record for record in records if record.status is Status.IN_PROGRESS), None)
        document: dict[str, Any] = {
            "status": self.status.value,
            "run_id": self.run_id or None,
            "progress": self.progress(fractions),
            "current_step": active.step_id if active and self.running else None,
            "completed_steps": [r.step_id for r in records if r.status is Status.COMPLETED],
            "steps": {
                info.id: {
                    **public(record),
                    "label": info.label,
                    "expect_s": list(info.expect_s),
                    "irreversible": info.irreversible,
                }
                for info, record in zip(infos, records, strict=True)
            },
            "failed_step": failed.step_id if failed else None,
            "error": failed.error if failed else None,
            "hint": failed.hint if failed else None,
        }
        if self.damage:
            document |= {"error": str(self.damage), "hint": self.damage.hint}
        return document


def spent(record: Record, info: StepInfo) -> bool:
    """True when an irreversible step did its work, or may have: it must not be forgotten."""
    return info.irreversible and (record.status is Status.COMPLETED or record.intent is not None)


def _elsewhere(_context: StepContext) -> NoReturn:
    raise AssertionError("a step's code runs in its own process")
