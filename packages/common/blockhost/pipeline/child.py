"""Steps in processes of their own, so that a broken one costs itself only.

A fork server (multiprocessing) has the plan's modules loaded; each attempt is a fork of it: a
guard, and below it the step. The guard adopts whatever the step leaves behind (PR_SET_CHILD_SUBREAPER)
and ends it. The step talks JSON over a pipe; what it prints is its log. Nothing from the step is
unpickled here.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import logging
import multiprocessing
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.pipeline.context import SilentReporter, StepContext
from blockhost.pipeline.perform import perform
from blockhost.pipeline.runner import Job, Report, Watcher
from blockhost.pipeline.step import DEFAULT_TIMEOUT_S, Step
from blockhost.secret import Redactor, Secret

log = logging.getLogger(__name__)

MAX_MESSAGE = 1024 * 1024
MAX_LOG_BYTES = 1024 * 1024
MAX_LINE = 4096
#: How long a guard may take to end a step that passed its deadline.
KILL_GRACE_S = 5.0
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)

PlanLoader = Callable[[], Sequence[Step]]


class InlineLauncher:
    """Runs steps in this process: for plans that must see it, and for measuring."""

    def __init__(self, *, secrets: Mapping[str, Secret] | None = None) -> None:
        self._secrets = dict(secrets or {})

    def launch(self, job: Job, watcher: Watcher) -> Report:
        return perform(job.step, _context(job, self._secrets, watcher))


class ChildLauncher:
    """Runs each attempt in a child process with a deadline.

    `plan` names, as `module:function`, what gives the steps in the child; `preload` are modules
    worth loading once. `secrets` go to the child by pipe and are removed from its output.
    """

    def __init__(
        self, plan: str, *, secrets: Mapping[str, Secret] | None = None, preload: Sequence[str] = ()
    ) -> None:
        self._plan = plan
        self._secrets = dict(secrets or {})
        self._redactor = Redactor(self._secrets.values())
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["blockhost.pipeline.child", plan.partition(":")[0], *preload])

    def launch(self, job: Job, watcher: Watcher) -> Report:
        """Run one attempt; whatever the step did comes back as a report."""
        order = {
            "plan": self._plan,
            "step_id": job.step.id,
            "config": job.config,
            "attempt": job.attempt,
            "previous_intent": job.previous_intent,
        }
        answer, problem = self._converse(order, watcher, job.step.timeout_s)
        if problem or answer is None:
            return Report(error=self._redactor.redact(problem or _("the step ended without a result")))
        return _as_report(answer, self._redactor)

    def call(
        self,
        target: str,
        arguments: Mapping[str, Any],
        *,
        config: Mapping[str, Any] | None = None,
        watcher: Watcher | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> dict[str, Any]:
        """Call `module:function` as `function(context, arguments) -> dict` in a child.

        Raises:
            BlockhostError: what the function raised on purpose, or how its process ended.
        """
        order = {"target": target, "arguments": dict(arguments), "config": dict(config or {})}
        answer, problem = self._converse(order, watcher or SilentReporter(), timeout_s)
        if problem or answer is None:
            raise BlockhostError(
                self._redactor.redact(problem or _("%(target)s ended without a result") % {"target": target})
            )
        report = _as_report(answer, self._redactor)
        if report.error:
            raise BlockhostError(report.error, hint=report.hint)
        return report.data or {}

    def _converse(
        self, order: dict[str, Any], watcher: Watcher, timeout_s: float
    ) -> tuple[dict[str, Any] | None, str]:
        """Start a child, hear it out, and leave nothing of it; its answer, or what went wrong."""
        order["secrets"] = {name: secret.reveal() for name, secret in self._secrets.items()}
        # The fork server keeps the environment of its start; ours may have changed since.
        order["environment"] = {k: v for k, v in os.environ.items() if k.startswith("BLOCKHOST_")}
        ours, theirs = self._processes.Pipe()
        log_reader, log_writer = self._processes.Pipe(duplex=False)
        process = self._processes.Process(target=_guard, args=(theirs, log_writer), daemon=True)
        with ours, log_reader:
            with theirs, log_writer:
                process.start()
            listener = _Listener(ours, log_reader, watcher, self._redactor)
            try:
                ours.send_bytes(json.dumps(order).encode())
                listener.hear(time.monotonic() + timeout_s)
                if not listener.ended:
                    _end(process.pid, signal.SIGTERM)
                    listener.hear(time.monotonic() + KILL_GRACE_S)
                    return None, _("no result within %(timeout_s)g s, so it was stopped") % {
                        "timeout_s": timeout_s
                    }
            except (OSError, ValueError) as error:
                return None, _("its process broke off: %(error)s") % {"error": error}
            finally:
                _end(process.pid, signal.SIGKILL)
                process.join()
                process.close()
        return listener.answer, listener.problem


class _Listener:
    """The parent's side of the conversation with one child."""

    def __init__(self, pipe: Connection, output: Connection, watcher: Watcher, redactor: Redactor) -> None:
        self.answer: dict[str, Any] | None = None
        self.problem = ""
        self.ended = False
        self._pipe = pipe
        self._output = output
        self._watcher = watcher
        self._redactor = redactor
        self._rest = b""
        self._heard = 0
        self._open: list[Any] = [pipe, output]

    def hear(self, deadline: float) -> None:
        """Listen until the child's guard has said its last word, or until the deadline."""
        while not self.ended:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            ready = wait(self._open, left)
            # Output first: what a step printed before it failed belongs before the failure.
            if self._output in ready:
                self._hear_output()
            if self._pipe in ready:
                self._hear_message()
        while self.ended and self._output in self._open and wait([self._output], 0):
            self._hear_output()
        if self.ended and self._rest:
            self._line(self._rest)
            self._rest = b""

    def _hear_output(self) -> None:
        chunk = os.read(self._output.fileno(), 65536)
        if not chunk:
            self._open.remove(self._output)
            return
        before, self._heard = self._heard, self._heard + len(chunk)
        if before >= MAX_LOG_BYTES:
            return
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > MAX_LINE:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._line(line)
        if self._heard >= MAX_LOG_BYTES:
            self._rest = b""
            self._watcher.log("[more output was dropped]")

    def _line(self, line: bytes) -> None:
        text = line[:MAX_LINE].decode("utf-8", "replace").rstrip("\r")
        self._watcher.log(self._redactor.redact(text))

    def _hear_message(self) -> None:
        try:
            message = json.loads(self._pipe.recv_bytes(MAX_MESSAGE))
        except EOFError:
            self.ended = True
            self.problem = self.problem or _("its process was killed")
            return
        match message:
            case {"progress": float() | int() as fraction, "message": str() as text}:
                self._watcher.progress(float(fraction), self._redactor.redact(text))
            case {"log": str() as text}:
                self._watcher.log(self._redactor.redact(text))
            case {"intent": dict() as intent}:
                self._watcher.intent(intent)
                self._pipe.send_bytes(b'{"intent":"durable"}')
            case {"result": dict() as answer}:
                self.answer = answer
            case {"ended": str() as problem}:
                self.ended, self.problem = True, problem
            case _:
                raise ValueError(_("it sent something that is not of the protocol"))


class _PipeReporter:
    """The step's side: words to the parent, intents answered before the step goes on."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def send(self, message: dict[str, Any]) -> None:
        self._pipe.send_bytes(json.dumps(message).encode())

    def progress(self, fraction: float, message: str) -> None:
        self.send({"progress": fraction, "message": message})

    def log(self, line: str) -> None:
        for part in line.splitlines() or [""]:
            self.send({"log": part[:MAX_LINE]})

    def intent(self, data: dict[str, Any]) -> None:
        self.send({"intent": data})
        self._pipe.recv_bytes(MAX_MESSAGE)


def _guard(pipe: Connection, output: Connection) -> None:
    """Between the fork server and the step: waits for the step, then ends all it left behind."""
    os.setsid()
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the secrets
    guard = os.getpid()
    step = os.fork()
    if step == 0:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(1)
        os._exit(_step_or_trace(pipe, output))
    output.close()
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(step, signal.SIGKILL)

    signal.signal(signal.SIGTERM, stop)
    _until_ended_or_alone(step, pipe, stop)
    _pid, status = os.waitpid(step, 0)
    _end_orphans()
    ending = "" if stopped or status == 0 else _how_it_ended(status)
    with contextlib.suppress(OSError):
        pipe.send_bytes(json.dumps({"ended": ending}).encode())
    os._exit(0)


def _step_or_trace(pipe: Connection, output: Connection) -> int:
    """The step process's exit code. Nothing may unwind beyond here: above lies the fork server."""
    try:
        return _step_process(pipe, output)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()


def _until_ended_or_alone(step: int, pipe: Connection, stop: Callable[[], None]) -> None:
    """Wait for the step; when whoever ordered it is gone, stop it.

    The fork server is no witness of that: each of its children holds what keeps it alive.
    """
    descriptor = os.pidfd_open(step)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(pipe.fileno(), 0)  # hanging up is reported all the same
        while not (ready := dict(poll.poll())):
            pass
        if descriptor not in ready:
            stop()
    finally:
        os.close(descriptor)


def _step_process(pipe: Connection, output: Connection) -> int:
    for descriptor in (1, 2):
        os.dup2(output.fileno(), descriptor)
    output.close()
    order = json.loads(pipe.recv_bytes())
    for name in [name for name in os.environ if name.startswith("BLOCKHOST_")]:
        del os.environ[name]
    os.environ.update(order["environment"])
    reporter = _PipeReporter(pipe)
    secrets = {name: Secret(value) for name, value in order["secrets"].items()}
    step = _as_step(order)
    context = StepContext(
        step_id=step.id,
        config=order["config"],
        secrets=secrets,
        reporter=reporter,
        attempt=order.get("attempt", 1),
        previous_intent=order.get("previous_intent"),
    )
    report = perform(step, context)
    answer = {"error": report.error, "hint": report.hint, "data": report.data, "config": report.config}
    sys.stdout.flush()
    reporter.send({"result": {**answer, "skipped": report.skipped}})
    return 0


def _as_step(order: dict[str, Any]) -> Step:
    """The step that is to run; a plain call becomes a step whose result is the call's."""
    if "target" in order:
        function = resolve(order["target"])

        def call(context: StepContext) -> None:
            context.result(function(context, order["arguments"]))

        return Step("call", "", apply=call)
    steps: Sequence[Step] = resolve(order["plan"])()
    return next(step for step in steps if step.id == order["step_id"])


def resolve(name: str) -> Any:
    """What `module:function` names."""
    module, _colon, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def _as_report(answer: dict[str, Any], redactor: Redactor) -> Report:
    """A child's answer, with every type checked: it may have been written by a broken plugin."""
    data, config = answer.get("data"), answer.get("config")
    if not (data is None or isinstance(data, dict)) or not isinstance(config, dict):
        return Report(error=_("its result has the wrong shape"))
    return Report(
        error=redactor.redact(str(answer.get("error") or "")),
        hint=redactor.redact(str(answer.get("hint") or "")),
        data=data,
        config=config,
        skipped=bool(answer.get("skipped")),
    )


def _context(job: Job, secrets: Mapping[str, Secret], watcher: Watcher) -> StepContext:
    return StepContext(
        step_id=job.step.id,
        config=job.config,
        secrets=secrets,
        reporter=watcher,
        attempt=job.attempt,
        previous_intent=job.previous_intent,
    )


def _how_it_ended(status: int) -> str:
    if os.WIFSIGNALED(status):
        return _("its process was ended by %(name)s") % {"name": signal.Signals(os.WTERMSIG(status)).name}
    return _("its process exited with %(code)s instead of returning") % {"code": os.WEXITSTATUS(status)}


def _end_orphans() -> None:
    """Kill every descendant of this process until none is left."""
    while children := _children():
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        # Wait for these alone: their children are ours from then on, alive, and next in turn.
        for child in children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, 0)


def _children() -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []


def _end(pid: int | None, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        if pid is not None:
            os.kill(pid, number)
