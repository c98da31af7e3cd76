"""Page `admin-commands`: orders that the admin may send to the host from outside."""

from __future__ import annotations

from flask import Blueprint, request, session

from blockhost.errors import AnswerError
from installer.web.pages.form import Shown, refused, saved, shown

page = Blueprint("admin_commands", __name__, url_prefix="/wizard/admin-commands")

TEMPLATE = "wizard/admin_commands.html"


@page.get("", strict_slashes=False)
def show() -> Shown:
    from installer.answers import AdminCommandsAnswer  # noqa: PLC0415

    if "admin_commands" in session:
        return shown(TEMPLATE, AdminCommandsAnswer.from_session(session).to_form())
    return shown(TEMPLATE, {"admin_enabled": "no"})


@page.post("", strict_slashes=False)
def save() -> Shown:
    from installer.answers import AdminCommandsAnswer  # noqa: PLC0415

    try:
        answer = AdminCommandsAnswer.from_form(request.form)
    except AnswerError as error:
        return refused(TEMPLATE, error)
    return saved("admin-commands", answer.to_session())
