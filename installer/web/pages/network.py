"""Page `network`: how this host gets its address, and the name that it goes by."""

from __future__ import annotations

from flask import Blueprint, request, session

from blockhost.errors import AnswerError
from installer.web import facts, trial
from installer.web.pages.form import Shown, refused, saved, shown

page = Blueprint("network", __name__, url_prefix="/wizard/network")

TEMPLATE = "wizard/network.html"


@page.get("", strict_slashes=False)
def show() -> Shown:
    from installer.answers import NetworkAnswer  # noqa: PLC0415

    form = NetworkAnswer.from_session(session).to_form() if "network" in session else {"method": "dhcp"}
    return shown(TEMPLATE, form, interfaces=facts.interfaces())


@page.post("", strict_slashes=False)
def save() -> Shown:
    from installer.answers import NetworkAnswer  # noqa: PLC0415

    try:
        answer = NetworkAnswer.from_form(request.form)
        trial.switch(answer)
    except AnswerError as error:
        return refused(TEMPLATE, error, interfaces=facts.interfaces())
    return saved("network", answer.to_session())
