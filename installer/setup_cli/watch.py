"""Following a run to its end: the status document is the truth, events only make it quick."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from blockhost.errors import BlockhostError, WorkerError
from blockhost.i18n import gettext as _
from installer.setup_cli.http import Unreachable
from installer.setup_cli.local import Setup
from installer.setup_cli.output import Terminal, printable

#: Pending means that nothing was started, or that somebody reset it.
ENDED = ("completed", "failed", "pending")
#: A worker that was killed is restarted and goes on by itself.
INTERRUPTED_FOR_S = 60.0
POLL_S = 1.0
#: Nobody answers for this long: the machine may be rebooting in the middle of its setup.
AWAY_FOR_S = 300.0


class TimeIsUp(BlockhostError):
    """The run goes on, we do not."""


def follow(
    setup: Setup,
    terminal: Terminal,
    *,
    timeout_s: float | None = None,
    logs: bool = False,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Show the run until it ends, and return its last status.

    Raises:
        TimeIsUp: `timeout_s` passed first.
        Unreachable: nobody answered for minutes.
    """
    watcher = _Watcher(setup, terminal, logs=logs, clock=clock)
    deadline = clock() + timeout_s if timeout_s is not None else None
    try:
        while True:
            # The stream stays open while the status is asked for: it outlives a reload of nginx, so
            # what it announces arrives before the certificate changes.
            for _tick in watcher.ticks():
                if (status := watcher.look()) is not None:
                    return status
                if deadline is not None and clock() > deadline:
                    raise TimeIsUp(
                        _("the setup is still going after %d s") % (timeout_s or 0),
                        hint=_("Look again: blockhost-setup status"),
                    )
            pause(POLL_S)
    finally:
        terminal.end_bar()


class _Watcher:
    """Tells each step's change once."""

    def __init__(self, setup: Setup, terminal: Terminal, *, logs: bool, clock: Callable[[], float]) -> None:
        self._setup = setup
        self._terminal = terminal
        self._logs = logs
        self._clock = clock
        self._seen: dict[str, str] = {}
        self._after = 0
        self._percent = 0
        self._label = ""
        self._last_running = clock()

    def look(self) -> dict[str, Any] | None:
        """Ask for the status and show it; returned once nothing more will happen."""
        idle_s = self._clock() - self._last_running
        try:
            status = self._setup.status()
        except (Unreachable, WorkerError) as error:
            is_away = isinstance(error, Unreachable) or error.code in ("unreachable", "internal")
            if not is_away or idle_s > AWAY_FOR_S:
                raise
            self._terminal.bar(self._percent, _("waiting for the machine to answer"))
            return None
        self.show(status)
        if status.get("status") == "running":
            self._last_running = self._clock()
            return None
        return status if status.get("status") in ENDED or idle_s > INTERRUPTED_FOR_S else None

    def ticks(self) -> Iterator[None]:
        """One tick now, and one for each event that may change the picture."""
        yield None
        try:
            for event in self._setup.events(self._after):
                if event is not None:
                    self._after = max(self._after, int(event.get("id") or 0))
                if event is None or self._tells_more(event):
                    yield None
        except (WorkerError, Unreachable):
            return

    def show(self, status: Mapping[str, Any]) -> None:
        steps = status.get("steps")
        for step_id, step in steps.items() if isinstance(steps, Mapping) else ():
            state = str(step.get("status", ""))
            if self._seen.get(step_id, "pending") != state:
                self._tell(step_id, step, state)
            self._seen[step_id] = state
        self._percent = int(status.get("progress") or 0)
        if status.get("status") == "running":
            self._terminal.bar(self._percent, self._label)

    def _tells_more(self, event: Mapping[str, Any]) -> bool:
        match event.get("type"):
            case "log" if self._logs:
                step, line = printable(str(event.get("step", ""))), printable(str(event.get("line", "")))
                self._terminal.line(f"{step}: {line}")
            case "progress":
                self._percent = int(event.get("progress") or self._percent)
                message = printable(str(event.get("message") or ""))
                self._terminal.bar(self._percent, f"{self._label}: {message}" if message else self._label)
            case "step" | "run":
                return True
        return False

    def _tell(self, step_id: str, step: Mapping[str, Any], state: str) -> None:
        label = printable(str(step.get("label") or step_id))
        match state:
            case "in_progress":
                self._label = label
            case "completed":
                took = _seconds(step)
                self._terminal.good(f"✓ {label}" + (f" ({took:.0f} s)" if took is not None else ""))
            case "failed":
                self._terminal.tell(f"✗ {label}: {printable(str(step.get('error') or ''))}")
                if step.get("hint"):
                    self._terminal.tell(f"  {printable(str(step['hint']))}")


def _seconds(step: Mapping[str, Any]) -> float | None:
    started, ended = step.get("started_at"), step.get("completed_at")
    if isinstance(started, int | float) and isinstance(ended, int | float) and ended >= started:
        return float(ended - started)
    return None


def as_text(status: Mapping[str, Any]) -> str:
    """A status document for people."""
    marks = {"completed": "✓", "failed": "✗", "in_progress": "…", "pending": "·"}
    lines = [f"{status.get('status')}, {status.get('progress', 0)} %"]
    steps = status.get("steps")
    for step_id, step in steps.items() if isinstance(steps, Mapping) else ():
        took = _seconds(step)
        mark, label = marks.get(str(step.get("status")), "?"), printable(str(step.get("label") or ""))
        lines.append(f"  {mark} {step_id:<16} {label}" + (f" ({took:.0f} s)" if took is not None else ""))
        if step.get("error"):
            lines.append(f"      {printable(str(step['error']))}")
        if step.get("hint") and step.get("error"):
            lines.append(f"      {printable(str(step['hint']))}")
    if status.get("error") and not status.get("failed_step"):
        lines.append(f"  {printable(str(status['error']))}")
    return "\n".join(lines)
