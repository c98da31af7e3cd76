"""`/login`, `/sign`, `/api/auth/verify`, `/logout`."""

from __future__ import annotations

import secrets
import threading
from typing import Any

from flask import Blueprint, abort, current_app, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from admin import guard
from admin.guard import Reply
from admin.login import challenges as limits
from admin.login import sessions
from admin.login.challenges import Challenge, Challenges
from admin.login.owner import NotAsked, Owner
from admin.login.sessions import Sessions
from blockhost.i18n import gettext as _

blueprint = Blueprint("login", __name__)

#: Names one browser before it is logged in; a challenge is bound to it.
BROWSER_COOKIE = "__Secure-blockhost-visit"
#: Each attempt runs a program: so many at once, the others are told to wait.
_attempts = threading.BoundedSemaphore(4)


@blueprint.get("/login")
def show() -> Reply:
    """A new challenge, as a page or as JSON."""
    if guard.current_session() is not None:
        return redirect(url_for("system.show"), code=303)
    return _ask()


@blueprint.get("/sign")
def sign() -> Reply:
    """The text to sign for a challenge of this browser, and nothing else: for copying and for programs."""
    challenge = _challenges().find(request.args.get("code", ""), browser=_browser())
    if challenge is None:
        abort(404, _("There is no such challenge for this browser, or it has expired."))
    return Response(challenge.message, mimetype="text/plain")


@blueprint.post("/api/auth/verify")
def verify() -> Reply:
    """Check a signature; the challenge is spent whatever comes out."""
    form = _form()
    challenge = _challenges().take(str(form.get("code", ""))[:32], browser=_browser())
    if challenge is None:
        return _refuse(_("The code is wrong, was used, or has expired. Sign the new one."), 401)
    if not _attempts.acquire(blocking=False):
        return _refuse(_("Too many logins at once. Try again in a few seconds."), 429)
    try:
        owner: Owner = current_app.extensions["owner"]
        address = owner.is_administrator(challenge.message, str(form.get("signature", "")))
    except NotAsked as error:
        current_app.logger.warning("%s", error)
        return _refuse(_("This host cannot find out who its administrator is. Look at its console."), 503)
    finally:
        _attempts.release()
    if address is None:
        return _refuse(_("This is not the administrator's signature of that text."), 401)
    return _welcome(address)


@blueprint.get("/logout")
def leave() -> Response:
    """End the session."""
    _sessions().end(request.cookies.get(guard.SESSION_COOKIE, ""))
    response = redirect(url_for("login.show"), code=303)
    response.delete_cookie(
        guard.SESSION_COOKIE, path=guard.cookie_path(), secure=True, httponly=True, samesite="Strict"
    )
    return response


def _ask(error: str = "", status: int = 200) -> Reply:
    browser = _browser() or secrets.token_urlsafe(16)
    challenge = _challenges().issue(browser=browser, host=request.host, source=request.remote_addr or "")
    response = current_app.make_response(_asked(challenge, error))
    response.status_code = status
    guard.set_cookie(response, BROWSER_COOKIE, browser, lifetime_s=limits.LIFETIME_S)
    return response


def _asked(challenge: Challenge, error: str) -> str | dict[str, Any]:
    if guard.wants_json():
        return {
            "ok": not error,
            **({"error": error} if error else {}),
            "code": challenge.code,
            "message": challenge.message,
            "expires_in": limits.LIFETIME_S,
        }
    return render_template("login.html", challenge=challenge, error=error, minutes=limits.LIFETIME_S // 60)


def _refuse(error: str, status: int) -> Reply:
    if guard.wants_json():
        return {"ok": False, "error": error}, status
    return _ask(error, status)


def _welcome(address: str) -> Reply:
    if guard.wants_json():
        response = current_app.make_response({"ok": True})
    else:
        response = current_app.make_response(redirect(url_for("system.show"), code=303))
    # A new name at login: one that was planted in the browser before opens nothing.
    name = _sessions().start(address)
    guard.set_cookie(response, guard.SESSION_COOKIE, name, lifetime_s=sessions.LIFETIME_S)
    return response


def _form() -> dict[str, Any]:
    if request.is_json:
        document = request.get_json(silent=True)
        if not isinstance(document, dict):
            abort(400, _("Expected a JSON object with code and signature."))
        return document
    return request.form.to_dict()


def _browser() -> str:
    return request.cookies.get(BROWSER_COOKIE, "")


def _challenges() -> Challenges:
    found: Challenges = current_app.extensions["challenges"]
    return found


def _sessions() -> Sessions:
    found: Sessions = current_app.extensions["sessions"]
    return found
