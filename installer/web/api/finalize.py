"""`/api/finalize`: start, watch, retry and reset the run. The worker decides; this only asks."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, abort, jsonify, request, session

from blockhost.i18n import gettext as _
from installer.web import trial, wizard
from installer.web.api import body

api = Blueprint("finalize", __name__, url_prefix="/api/finalize")

#: A stream ends after this time, and the browser comes back: nothing is held for ever.
LONGEST_STREAM_S = 600.0
#: Short enough for a proxy that waits a minute.
HEARTBEAT_S = 10.0
FINAL = frozenset({"completed", "failed", "interrupted"})


@api.post("")
def start() -> tuple[Response, int]:
    """Start the run; with `resume` go on with the one at hand, with `retry_step` at that step."""
    fields = body.fields()
    retry_step, resume = body.optional_text(fields, "retry_step"), body.flag(fields, "resume")
    plan = body.optional_text(fields, "plan")
    body.refuse_unknown(fields)
    here = wizard.current()
    if retry_step or (resume and here.worker.status().get("status") in ("failed", "interrupted")):
        return _running(here.worker.retry(retry_step or None))
    summary = here.flow.pages[-1]
    if (missing := here.flow.blocking(summary, session)) is not None:
        abort(422, _("The page “%(page)s” is not answered yet.") % {"page": missing.id})
    if trial.current() is not None:
        abort(409, _("A new address is still being tried: confirm it first."))
    return _running(here.worker.start(here.answers(), plan or None))


@api.get("/status")
def status() -> Response:
    return jsonify(wizard.current().worker.status())


@api.post("/retry")
def retry() -> tuple[Response, int]:
    fields = body.fields()
    step_id = body.optional_text(fields, "step_id")
    body.refuse_unknown(fields)
    return _running(wizard.current().worker.retry(step_id or None))


@api.post("/reset")
def reset() -> Response:
    fields = body.fields()
    force = body.flag(fields, "force")
    body.refuse_unknown(fields)
    wizard.current().worker.reset(force=force)
    return jsonify(status="reset")


@api.get("/events")
def events() -> Response:
    """Server-sent events. Beyond the cap: 503, and the client polls `status` instead."""
    here = wizard.current()
    after = _last_seen()
    if not here.streams.acquire(blocking=False):
        return Response(
            json.dumps({"error": _("Too many watchers."), "hint": _("Ask /api/finalize/status instead.")}),
            503,
            {"Retry-After": "5"},
            mimetype="application/json",
        )
    response = Response(_stream(here.worker.events(after, idle_s=HEARTBEAT_S)), mimetype="text/event-stream")
    # Closed also where the stream was never begun: a place must not be lost.
    response.call_on_close(here.streams.release)
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _running(answer: dict[str, Any]) -> tuple[Response, int]:
    document = {
        "status": "running",
        "run_id": answer.get("run_id"),
        "message": _("The setup is running."),
    }
    return jsonify(document), 202


def _last_seen() -> int:
    """The number after which to go on: what the browser saw last, or asks for."""
    text = request.headers.get("Last-Event-ID") or request.args.get("after") or "0"
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def _stream(events: Iterator[dict[str, Any] | None]) -> Iterator[str]:
    until = time.monotonic() + LONGEST_STREAM_S
    yield "retry: 2000\n\n"
    try:
        for event in events:
            # A comment keeps proxies awake, and shows us a browser that has gone.
            yield ": waiting\n\n" if event is None else _as_text(event)
            if time.monotonic() > until:
                return
    finally:
        events.close()  # type: ignore[attr-defined]


def _as_text(event: dict[str, Any]) -> str:
    kind = str(event.get("type", "message"))
    return f"id: {event['id']}\nevent: {kind}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n"
