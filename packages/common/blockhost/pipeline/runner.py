"""The one loop that runs steps: first boot and finalization share it.

For each step: note that it begins (durably), run it in a launcher, note how it ended (durably).
A step is completed only after its own `check` saw the effect. Whatever stops the loop, the next
run starts from the records: completed steps stay completed, an interrupted one is asked by its
`check` before it is applied again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from blockhost.errors import BlockhostError, RecordNotKept
from blockhost.i18n import gettext as _
from blockhost.os_errors import explained
from blockhost.pipeline.records import Record, RecordStore, Status
from blockhost.pipeline.step import Step

log = logging.getLogger(__name__)


class EventType(StrEnum):
    STEP = "step"
    PROGRESS = "progress"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class Event:
    """Something a watcher may want to see; `data` is JSON."""

    type: EventType
    step_id: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt at one step, as handed to a launcher."""

    step: Step
    config: dict[str, Any]
    attempt: int
    previous_intent: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """How an attempt ended. No `error` means: applied and verified."""

    error: str = ""
    hint: str = ""
    data: dict[str, Any] | None = None
    config: dict[str, Any] = field(default_factory=dict)
    skipped: bool = False  # `check` found the effect in place


class Watcher(Protocol):
    """What a launcher calls while a step runs."""

    def progress(self, fraction: float, message: str) -> None: ...

    def log(self, line: str) -> None: ...

    def intent(self, data: dict[str, Any]) -> None: ...


class Launcher(Protocol):
    """Runs one attempt of a step to its end; never raises for what the step did."""

    def launch(self, job: Job, watcher: Watcher) -> Report: ...


class Runner:
    """Runs a plan to its end or its first failure.

    `config` is the run's starting configuration; what completed steps changed is laid over it in
    plan order, so it is derived from the records each time.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        store: RecordStore,
        launcher: Launcher,
        *,
        config: Mapping[str, Any] | None = None,
        listener: Callable[[Event], None] | None = None,
        clock: Callable[[], float] = time.time,
        keep_going: Callable[[Step], bool] | None = None,
    ) -> None:
        self.steps = steps
        self._store = store
        self._launcher = launcher
        self._config = dict(config or {})
        self._listener = listener or (lambda _event: None)
        self._clock = clock
        self._keep_going = keep_going or (lambda _step: False)

    def run(self) -> bool:
        """True when every step is completed.

        A failed step ends the run, unless `keep_going` says that the rest does not need it.

        Raises:
            RecordNotKept: how a step stands could not be written down, so nothing later runs.
        """
        config = dict(self._config)
        complete = True
        for step in self.steps:
            record = self._store.load(step.id)
            if record.status is not Status.COMPLETED:
                record = self._attempt(step, record, config)
            if record.status is Status.COMPLETED:
                config.update(record.config)
                continue
            complete = False
            if not self._keep_going(step):
                break
        return complete

    def _attempt(self, step: Step, before: Record, config: dict[str, Any]) -> Record:
        record = replace(
            before,
            status=Status.IN_PROGRESS,
            attempt=before.attempt + 1,
            error="",
            hint="",
            started_at=self._clock(),
            completed_at=None,
        )
        self._save(record)
        watcher = _RecordingWatcher(self, record)
        job = Job(step, dict(config), record.attempt, record.intent)
        try:
            report = self._launcher.launch(job, watcher)
        except Exception as error:
            known = _known(error)
            if known is None:  # a fault of ours, not of the step: record it, then let it be seen
                self._save(
                    replace(watcher.record, status=Status.FAILED, error=_("internal error, see the log"))
                )
                raise
            report = Report(error=str(known), hint=known.hint)
        return self._save(self._ended(watcher.record, report))

    def _ended(self, record: Record, report: Report) -> Record:
        if report.error:
            return replace(record, status=Status.FAILED, error=report.error, hint=report.hint)
        return replace(
            record,
            status=Status.COMPLETED,
            completed_at=self._clock(),
            data=report.data,
            config=report.config,
        )

    def _save(self, record: Record) -> Record:
        self._keep(record)
        self.tell(EventType.STEP, record.step_id, public(record))
        return record

    def _keep(self, record: Record) -> None:
        try:
            self._store.save(record)
        except OSError as error:
            known = _known(error) or BlockhostError(str(error))
            raise RecordNotKept(record.step_id, str(known), hint=known.hint) from error

    def tell(self, kind: EventType, step_id: str, data: Mapping[str, Any]) -> None:
        """Pass an event on; a listener's fault must not stop the run."""
        try:
            self._listener(Event(kind, step_id, data))
        except Exception:
            log.exception("a listener failed")

    def save_intent(self, record: Record, data: dict[str, Any]) -> Record:
        """Make an intent durable before the step goes on."""
        updated = replace(record, intent=data)
        self._keep(updated)
        return updated


class _RecordingWatcher:
    """Passes a step's words on as events, and its intents into its record."""

    def __init__(self, runner: Runner, record: Record) -> None:
        self._runner = runner
        self.record = record

    def progress(self, fraction: float, message: str) -> None:
        data = {"fraction": fraction, "message": message}
        self._runner.tell(EventType.PROGRESS, self.record.step_id, data)

    def log(self, line: str) -> None:
        self._runner.tell(EventType.LOG, self.record.step_id, {"line": line})

    def intent(self, data: dict[str, Any]) -> None:
        self.record = self._runner.save_intent(self.record, data)


def _known(error: Exception) -> BlockhostError | None:
    """What need not be looked for in the code: an intent that could not be kept (its step ended before
    its effect), or what the system refused."""
    if isinstance(error, RecordNotKept):
        return error
    return explained(error) if isinstance(error, OSError) else None


def public(record: Record) -> dict[str, Any]:
    """A record as the status API shows it."""
    shown: dict[str, Any] = {
        "status": record.status.value,
        "error": record.error or None,
        "hint": record.hint or None,
        "started_at": record.started_at,
        "completed_at": record.completed_at,
    }
    if record.data is not None:
        shown["data"] = record.data
    return shown
