"""`/` and `/wizard/`: to wherever the operator goes on."""

from __future__ import annotations

from flask import Blueprint, redirect, session, url_for
from werkzeug.wrappers.response import Response

from blockhost.errors import WorkerError
from installer.web import wizard

page = Blueprint("start", __name__)


@page.get("/")
@page.get("/wizard/")
def show() -> Response:
    """The progress of a run that was started, else the first page without an answer."""
    here = wizard.current()
    try:
        status = here.worker.status().get("status", "pending")
    except WorkerError:
        status = "pending"
    if status == "completed":
        return redirect(url_for("complete.show"), 303)
    if status != "pending":
        return redirect(url_for("install.show"), 303)
    return redirect(here.flow.first_unanswered(session).url, 303)
