"""Every request passes here first. Closed unless opened: a route that is not listed needs the session."""

from __future__ import annotations

import ipaddress
import json
import re
import socket
from typing import Any

from flask import Response as FlaskResponse
from flask import abort, current_app, redirect, request, url_for
from werkzeug.wrappers import Response

from admin.login.sessions import Session, Sessions
from blockhost import paths
from blockhost.i18n import gettext as _

Reply = str | Response | tuple[Any, int]

#: What answers without a session: endpoints by name. A test holds it against the URL map.
PUBLIC_ENDPOINTS = frozenset({"login.show", "login.sign", "login.verify", "static"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
#: Not `__Host-`: that prefix demands Path=/, and the panel must keep its cookie off the other sites
#: of this host. So `__Secure-`, with the panel's own path.
SESSION_COOKIE = "__Secure-blockhost-admin"

_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
#: For the pages that keep themselves current; all others run no script at all.
POLICY_WITH_SCRIPTS = f"{_POLICY}; script-src 'self'; connect-src 'self'"
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`: browsers would send `Origin: null` with our own forms (Fetch, section 3.2).
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?")


def check() -> Response | None:
    """Refuse foreign hosts, other sites' requests, and everybody who is not logged in."""
    if not is_own_host(request.host):
        # In plain text: what makes pages makes links, and this Host is not one to link to.
        return Response(_("This machine does not answer to that name.") + "\n", 421, mimetype="text/plain")
    if request.method not in SAFE_METHODS:
        _require_same_site()
    if request.endpoint in PUBLIC_ENDPOINTS or current_session() is not None:
        return None
    if request.endpoint is None or wants_json() or request.method not in SAFE_METHODS:
        abort(401, _("Log in first."))
    return redirect(url_for("login.show"), code=303)


def add_headers(response: FlaskResponse) -> FlaskResponse:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint == "static":
        response.headers["Cache-Control"] = "private, max-age=3600"
    return response


def current_session() -> Session | None:
    """The session of this request, if it is logged in."""
    sessions: Sessions = current_app.extensions["sessions"]
    return sessions.find(request.cookies.get(SESSION_COOKIE, ""))


def set_cookie(response: Response, name: str, value: str, *, lifetime_s: int) -> None:
    """A cookie for the panel's own path: no script reads it, no other site sends it."""
    response.set_cookie(
        name, value, max_age=lifetime_s, path=cookie_path(), secure=True, httponly=True, samesite="Strict"
    )


def cookie_path() -> str:
    """The panel's path as browsers see it."""
    return (request.script_root or "") + "/"


def wants_json() -> bool:
    """True where the answer, errors included, is JSON: a form of our own page is answered as a page."""
    if request.path.startswith("/api/"):
        return not (request.method == "POST" and request.mimetype == "application/x-www-form-urlencoded")
    best = request.accept_mimetypes.best_match(["text/html", "application/json"], "text/html")
    return best == "application/json"


def is_own_host(host: str) -> bool:
    """Addresses, localhost and this machine's names: none of them can be pointed here by an attacker."""
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match["name"].lower().rstrip(".")
    return name == "localhost" or _is_address(name) or name in own_names()


def own_names() -> frozenset[str]:
    """The names that this machine has: its own, its `.local` one, and its public one."""
    own = socket.gethostname().lower()
    names = {own, own.split(".", 1)[0] + ".local"}
    try:
        document = json.loads((paths.config_dir() / "https.json").read_bytes())
        names.add(str(document["hostname"]).lower())
    except (OSError, ValueError, LookupError, TypeError):
        pass  # not set up for a name: addresses remain
    return frozenset(names)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _require_same_site() -> None:
    """Refuse what another site makes the operator's browser send. Plain clients send neither header."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None and site not in ("same-origin", "none"):
        abort(403, _("This request came from another site."))
    if origin is not None and origin.lower() != f"{request.scheme}://{request.host}".lower():
        abort(403, _("This request came from another site."))
