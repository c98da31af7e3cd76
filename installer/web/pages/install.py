"""Page `install`: how far the run is. Read anew from the worker on each load; scripts only add life."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for

from blockhost.errors import WorkerError
from blockhost.i18n import gettext_noop as N_
from installer.web import wizard
from installer.web.pages.form import Shown

page = Blueprint("install", __name__, url_prefix="/wizard/install")

#: What the page shows of the log without scripts; with scripts it grows.
LOG_LINES = 200


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step as the page shows it. Durations in seconds."""

    id: str
    label: str
    status: str
    error: str
    hint: str
    elapsed_s: float | None
    expect_s: tuple[float, float]
    irreversible: bool
    last_line: str
    started_at: float | None

    @property
    def is_late(self) -> bool:
        return self.status == "in_progress" and (self.elapsed_s or 0) > self.expect_s[1] > 0


@page.get("", strict_slashes=False)
def show() -> Shown:
    status = wizard.current().worker.status()
    if status.get("status") == "pending":
        return redirect(url_for("summary.show"), 303)
    return _page(status)


@page.post("", strict_slashes=False)
def act() -> Shown:
    """Retry, for browsers without scripts."""
    worker = wizard.current().worker
    try:
        worker.retry(request.form.get("step_id") or None)
    except WorkerError as error:
        if error.code != "running":
            return _page(worker.status(), error=str(error), hint=error.hint), 422
    return redirect(url_for("install.show"), 303)


def _page(status: Mapping[str, Any], *, error: str = "", hint: str = "") -> str:
    log = recent_log()
    return render_template(
        "wizard/install.html",
        status=status,
        steps=rows(status, log),
        log=log[-LOG_LINES:],
        log_end=log[-1]["id"] if log else 0,
        now=time.time(),
        error=error,
        hint=hint,
        state_text=STATE_TEXTS.get(str(status.get("status")), ""),
    )


def recent_log() -> list[Mapping[str, Any]]:
    """The log lines that the worker still has; of a step that was repeated, its last attempt's."""
    lines: list[Mapping[str, Any]] = []
    events = wizard.current().worker.events(0, idle_s=0.05)
    try:
        for event in events:
            if event is None:
                break
            if event.get("type") == "log":
                lines.append(event)
            elif event.get("type") == "step" and event.get("status") == "in_progress":
                lines = [line for line in lines if line.get("step") != event.get("step")]
    except WorkerError:
        pass
    finally:
        events.close()  # type: ignore[attr-defined]
    return lines


def rows(status: Mapping[str, Any], log: list[Mapping[str, Any]]) -> list[StepRow]:
    """The steps of a run, in order."""
    last = {str(event.get("step")): str(event.get("line", "")) for event in log}
    return [_row(step_id, step, last.get(step_id, "")) for step_id, step in status.get("steps", {}).items()]


def _row(step_id: str, step: Mapping[str, Any], last_line: str) -> StepRow:
    started, ended = step.get("started_at"), step.get("completed_at")
    state = str(step.get("status", "pending"))
    until = time.time() if state == "in_progress" else ended
    elapsed = max(0.0, until - started) if started and until else None
    low, high = step.get("expect_s") or (0, 0)
    return StepRow(
        id=step_id,
        label=str(step.get("label") or step_id),
        status=state,
        error=str(step.get("error") or ""),
        hint=str(step.get("hint") or ""),
        elapsed_s=elapsed,
        expect_s=(float(low), float(high)),
        irreversible=bool(step.get("irreversible")),
        last_line=last_line,
        started_at=started,
    )


STATE_TEXTS = {
    "running": N_("The host is being set up."),
    "completed": N_("Everything is set up."),
    "failed": N_("A step failed. What was done before it is kept."),
    "interrupted": N_("The setup was interrupted. What was done is kept."),
}
