"""The single writer of a setup: claims the lock, runs the plan in a thread, keeps commands legal."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from blockhost.errors import WorkerError
from blockhost.files import make_dir, remove_leftovers, write_json
from blockhost.i18n import gettext as _
from blockhost.nginx_site import site_dir
from blockhost.paths import config_dir, setup_dir, state_dir, web_dir
from blockhost.pipeline.child import ChildLauncher
from blockhost.pipeline.records import Status
from blockhost.pipeline.runner import Event, EventType, Runner
from blockhost.secret import Secret
from installer.finalize import run
from installer.finalize.events import EventLog
from installer.finalize.run import Command, Header, StepInfo, Stop, View
from installer.finalize.step_logs import StepLogs
from installer.vault import Vault

log = logging.getLogger(__name__)

PLAN = "installer.finalize.plan"
#: Worth loading once, before children are forked. Plugins are not: theirs may be broken.
PRELOAD = ("flask", "yaml", "blockhost.plugin_api", "blockhost.nginx_site")


class Supervisor:
    """Runs at most one setup at a time, over all threads and processes of this machine."""

    def __init__(self, vault: Vault, events: EventLog, *, plan: str = PLAN) -> None:
        self._vault = vault
        self._events = events
        self._plan = plan
        self._guard = threading.RLock()
        self._lock = _MachineLock()
        self._active = ""
        self._stop: Stop | None = None
        self._fractions: dict[str, float] = {}

    # --- asking ----------------------------------------------------------------------------

    def view(self) -> View:
        return View.look(running=bool(self._active), stop=self._stop)

    def status(self) -> dict[str, Any]:
        """The contract's status document, derived now."""
        return self.view().as_json(dict(self._fractions))

    def call(
        self,
        function: str,
        arguments: Mapping[str, Any],
        *,
        config: Mapping[str, Any] | None = None,
        secrets: bool = True,
        extra: Mapping[str, Secret] | None = None,
        timeout_s: float = 120.0,
    ) -> dict[str, Any]:
        """Run one of the plan's functions in a child: plugins never run in this process."""
        target = function if ":" in function else f"{self._plan}:{function}"
        launcher = self._launcher(secrets=secrets, extra=extra)
        return launcher.call(target, arguments, config=config, timeout_s=timeout_s)

    def describe(self) -> tuple[StepInfo, ...]:
        """The plan's steps, in order."""
        answer = self.call("describe", {}, secrets=False)
        return tuple(StepInfo.parse(item, source=self._plan) for item in answer["steps"])

    # --- changing --------------------------------------------------------------------------

    def start(
        self,
        answers: Mapping[str, Any],
        config: Mapping[str, Any],
        steps: Sequence[StepInfo],
        plan_hash: str = "",
    ) -> Header:
        """Begin a run, or go on with the one at hand if its inputs are the same.

        Raises:
            WorkerError: `running` (with its run id), `completed`.
        """
        with self._transition(Command.START) as view:
            header = view.header
            if view.damage:
                raise WorkerError(str(view.damage), code="damaged", hint=view.damage.hint)
            if header is None or header.config != config or header.steps != tuple(steps):
                try:
                    header = self._begin(view, Header.new(answers, config, steps, plan_hash))
                except OSError as error:  # told to who asked; whoever looks later sees it, too
                    self._stop = Stop.of(error)
                    raise
            self._launch(header)
        return header

    def retry(self, step_id: str = "") -> Header:
        """Go on with a failed or interrupted run: its first unfinished step is checked, then applied.

        Raises:
            WorkerError: `running`, `unknown-step`, `completed-step`, `not-failed`, `not-started`.
        """
        with self._transition(Command.RETRY) as view:
            header = view.header
            if header is None:
                raise WorkerError(
                    str(view.damage), code="damaged", hint=view.damage.hint if view.damage else ""
                )
            if step_id:
                _require_retryable(view, step_id)
            self._launch(header)
        return header

    def resume(self) -> bool:
        """Go on with an interrupted run, as a starting worker does; a failed one waits for `retry`."""
        try:
            with self._transition(Command.CONTINUE) as view:
                if view.header is None:
                    return False
                self._launch(view.header)
        except WorkerError:
            return False
        return True

    def reset(self, *, force: bool = False) -> None:
        """Forget the run; what steps did stays, and their checks will find it.

        Raises:
            WorkerError: `running`, `irreversible` (unless `force`).
        """
        with self._transition(Command.RESET) as view:
            if not force and (names := _spent_steps(view)):
                raise WorkerError(
                    _("these steps cannot be undone: %s") % ", ".join(names),
                    code="irreversible",
                    hint=_("Reset with force only if you accept that they may be done again"),
                )
            run.complete_marker().unlink(missing_ok=True)
            run.remove_header()
            self._forget_other_runs(keep="")
            self._stop = None
            self._fractions.clear()
        self._events.add("run", {"status": "pending", "run_id": None, "progress": 0})

    @contextlib.contextmanager
    def _transition(self, command: Command) -> Iterator[View]:
        """Hold the machine's lock while a command changes the run, if it is legal now."""
        with self._guard:
            if self._active:
                run.require(command, run.RunStatus.RUNNING, self._active)
            if not self._lock.acquire():
                run.require(command, run.RunStatus.RUNNING, View.look(running=True).run_id)
            try:
                view = View.look(running=False, stop=self._stop)
                run.require(command, view.status, view.run_id)
                yield view
            finally:
                if not self._active:
                    self._lock.release()

    def _begin(self, view: View, header: Header) -> Header:
        """Make a new run current. What cannot be undone is taken over from the run before."""
        if view.header is not None:
            for info, record in zip(view.header.steps, view.records, strict=True):
                if run.spent(record, info):
                    header.store.save(record)
        make_dir(state_dir(), mode=0o750, owner="blockhost", group="blockhost")
        run.save_header(header)
        self._forget_other_runs(keep=header.run_id)
        return header

    def _forget_other_runs(self, *, keep: str) -> None:
        for parent in (run.records_dir(), setup_dir() / "logs"):
            if parent.is_dir():
                for directory in parent.iterdir():
                    if directory.is_dir() and directory.name != keep:
                        shutil.rmtree(directory, ignore_errors=True)

    # --- running ---------------------------------------------------------------------------

    def _launch(self, header: Header) -> None:
        self._stop = None
        self._active = header.run_id
        self._fractions.clear()
        threading.Thread(target=self._run, args=(header,), name="run", daemon=True).start()

    def _run(self, header: Header) -> None:
        stop = None
        try:
            self._work(header)
        except Exception as error:
            log.exception("the run broke off")
            stop = Stop.of(error)
        finally:
            with self._guard:
                self._stop = stop
                self._active = ""
                self._lock.release()
            self._tell_run()

    def _work(self, header: Header) -> None:
        for directory in _written_by_steps(header):
            remove_leftovers(directory)
        with StepLogs(setup_dir() / "logs" / header.run_id) as logs:
            self._tell_run()
            runner = Runner(
                [step.as_step() for step in header.steps],
                header.store,
                self._launcher(),
                config=header.config,
                listener=lambda event: self._listen(event, logs),
            )
            if runner.run():
                _mark_complete(header)

    def _listen(self, event: Event, logs: StepLogs) -> None:
        data = dict(event.data)
        if event.type is EventType.LOG:
            logs.write(event.step_id, data["line"])
        elif event.type is EventType.PROGRESS:
            self._fractions[event.step_id] = float(data["fraction"])
            data["progress"] = self.view().progress(self._fractions)
        elif data["status"] != Status.IN_PROGRESS:
            self._fractions.pop(event.step_id, None)
        self._events.add(event.type.value, {"step": event.step_id, **data})

    def _tell_run(self) -> None:
        view = self.view()
        progress = view.progress(self._fractions)
        self._events.add(
            "run", {"status": view.status.value, "run_id": view.run_id or None, "progress": progress}
        )

    def _launcher(self, *, secrets: bool = True, extra: Mapping[str, Secret] | None = None) -> ChildLauncher:
        values = {name: self._vault.get(name) for name in self._vault.names()} if secrets else {}
        values |= extra or {}
        return ChildLauncher(f"{self._plan}:steps", secrets=values, preload=PRELOAD)


class _MachineLock:
    """An flock that lasts from the start of a run to its end, and dies with its process."""

    def __init__(self) -> None:
        self._descriptor = -1

    def acquire(self) -> bool:
        """True when this process holds the lock now."""
        make_dir(setup_dir(), mode=0o700)
        descriptor = os.open(setup_dir() / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _written_by_steps(header: Header) -> list[Path]:
    """Where a step that was killed may have left a temporary file."""
    generations = [path for path in site_dir().glob("generation-*") if path.is_dir()]
    return [config_dir(), config_dir() / "tls", state_dir(), web_dir(), header.store.directory, *generations]


def _mark_complete(header: Header) -> None:
    """The last write of a setup."""
    marker = {"run_id": header.run_id}
    write_json(run.complete_marker(), marker, mode=0o644, owner="blockhost", group="blockhost")


def _require_retryable(view: View, step_id: str) -> None:
    records = view.shown
    record = next((record for record in records if record.step_id == step_id), None)
    if record is None:
        raise WorkerError(_("there is no step %r") % step_id, code="unknown-step")
    if record.status is Status.COMPLETED:
        raise WorkerError(_("the step %r is completed") % step_id, code="completed-step")
    first = next(record for record in records if record.status is not Status.COMPLETED)
    if record is not first:
        raise WorkerError(
            _("the step %(asked)r waits for %(first)r") % {"asked": step_id, "first": first.step_id},
            code="not-failed",
        )


def _spent_steps(view: View) -> list[str]:
    """Irreversible steps that did, or may have done, their work."""
    if view.header is None:
        return ["?"] if view.damage and _any_intent() else []
    pairs = zip(view.header.steps, view.records, strict=True)
    return [info.id for info, record in pairs if run.spent(record, info)]


def _any_intent() -> bool:
    """With a damaged header nobody knows which steps were irreversible; an intent tells."""
    for file in run.records_dir().glob("*/*"):
        with contextlib.suppress(OSError):
            if b'"intent": {' in file.read_bytes():
                return True
    return False
