"""Page `ipv6`: where the VMs' public addresses come from."""

from __future__ import annotations

from flask import Blueprint, request, session

from blockhost.errors import AnswerError
from installer.web.pages.form import Shown, refused, saved, shown

page = Blueprint("ipv6", __name__, url_prefix="/wizard/ipv6")

TEMPLATE = "wizard/ipv6.html"


@page.get("", strict_slashes=False)
def show() -> Shown:
    from installer.answers import Ipv6Answer  # noqa: PLC0415

    answered = Ipv6Answer.from_session(session) if "ipv6" in session else Ipv6Answer("none")
    return shown(TEMPLATE, answered.to_form())


@page.post("", strict_slashes=False)
def save() -> Shown:
    from installer.answers import Ipv6Answer  # noqa: PLC0415

    try:
        answer = Ipv6Answer.from_form(request.form)
    except AnswerError as error:
        return refused(TEMPLATE, error)
    return saved("ipv6", answer.to_session())
