"""Login with the one-time code from the console. The worker counts and compares, never this process."""

from __future__ import annotations

import math
from dataclasses import dataclass

from flask import Blueprint, redirect, render_template, request, session, url_for
from werkzeug.wrappers.response import Response

from blockhost.codes import Outcome
from blockhost.i18n import gettext as _
from blockhost.i18n import ngettext
from installer.web import wizard
from installer.web.sessions import ServerSession

page = Blueprint("login", __name__)

#: Leads on to wherever the setup stands. By its path: this page is served before that one is loaded.
START = "/wizard/"
#: Longer than any code with spaces and dashes.
MAX_GUESS = 64


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a guess did not open the door."""

    message: str
    wait_s: float = 0.0
    status: int = 422


@page.get("/login")
def show() -> str | Response:
    if session.get("authenticated") is True:
        return redirect(START, 303)
    return render_template("login.html", refusal=None, otp="")


@page.post("/logout")
def leave() -> Response:
    """End this session; the run goes on."""
    session.clear()
    return redirect(url_for("login.show"), 303)


@page.post("/login")
def save() -> tuple[str, int, dict[str, str]] | Response:
    guess = request.form.get("otp", "")
    refusal = attempt(guess)
    if refusal is None:
        return redirect(START, 303)
    headers = {"Retry-After": str(math.ceil(refusal.wait_s))} if refusal.wait_s else {}
    # The guess is not repeated: it may be right but for one symbol, and pages get photographed.
    return render_template("login.html", refusal=refusal, otp=""), refusal.status, headers


def attempt(guess: str) -> Refusal | None:
    """Evaluate one guess; None, and a new session that is logged in, where it is right."""
    if not guess.strip():
        return Refusal(_("Enter the code that the console shows."))
    if len(guess) > MAX_GUESS:
        return Refusal(_("That is too long to be a code."))
    answer = wizard.current().worker.login(guess, request.remote_addr or "")
    outcome = str(answer.get("outcome", ""))
    if outcome == Outcome.ACCEPTED:
        _log_in()
        return None
    wait_s = _number(answer.get("wait_s"))
    if outcome == "wait":
        return _too_fast(wait_s)
    return Refusal(_explain(outcome, answer.get("attempts_left")), wait_s)


def _log_in() -> None:
    """A fresh session: nothing that was in it before survives, its id included."""
    assert isinstance(session._get_current_object(), ServerSession)  # type: ignore[attr-defined]
    session.clear()
    session["authenticated"] = True
    session.rotate = True  # type: ignore[attr-defined]


def _explain(outcome: str, attempts_left: object) -> str:
    match outcome:
        case Outcome.WRONG if isinstance(attempts_left, int):
            return ngettext(
                "That is not the code. %(left)d try is left.",
                "That is not the code. %(left)d tries are left.",
                attempts_left,
            ) % {"left": attempts_left}
        case Outcome.WRONG:
            return _("That is not the code.")
        case Outcome.LOCKED:
            return _("Too many wrong codes: this one is locked. Renew it on the console.")
        case Outcome.EXPIRED:
            return _("This code has expired. Renew it on the console.")
        case Outcome.USED:
            return _("This code was used already. Renew it on the console.")
        case Outcome.NONE:
            return _("There is no code at the moment. Renew it on the console.")
        case _unknown:
            return _("The setup worker gave an answer that this page does not know.")


def _too_fast(wait_s: float) -> Refusal:
    seconds = max(1, math.ceil(wait_s))
    message = ngettext(
        "Too many tries from your address. Wait %(seconds)d second.",
        "Too many tries from your address. Wait %(seconds)d seconds.",
        seconds,
    ) % {"seconds": seconds}
    return Refusal(message, float(seconds), 429)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
