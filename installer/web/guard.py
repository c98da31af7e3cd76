"""Every request passes here first. Closed unless opened: a route that nobody listed needs the session.

The Host must be ours (DNS rebinding), a request that changes something must come from our own
pages (Sec-Fetch-Site, Origin), its body must be small, and its sender logged in.
"""

from __future__ import annotations

import ipaddress
import re

from flask import Flask, Response, abort, redirect, request, session, url_for
from werkzeug.wrappers.response import Response as AnyResponse

from blockhost.i18n import gettext as _
from installer.web import trial, wizard

#: What answers without a session: endpoints by name. A test holds it against the URL map.
PUBLIC_ENDPOINTS = frozenset(
    {
        "login.show",
        "login.save",
        "health.healthz",
        "network_trial.confirm",  # its link carries a token
        "network_trial.show",
        "static",
        "theme.stylesheet",
        "setup_test.run",  # answers 404 without the testing marker, and asks for the code itself
    }
)

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_BODY = 64 * 1024
#: A saved configuration is longer than any form.
MAX_BODIES = {"/api/restore-config": 512 * 1024}

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:(?P<port>[0-9]{1,5}))?")

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`: browsers would send `Origin: null` with our own forms (Fetch, section 3.2).
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


def install(app: Flask) -> None:
    """Put the guard before, and the headers after, every request."""
    app.before_request(_check_host)
    app.before_request(_check_body)
    app.before_request(_check_origin)
    app.before_request(_require_login)
    app.before_request(_require_order)
    app.after_request(_move_secrets)
    app.after_request(_add_headers)


def max_body(path: str) -> int:
    """The longest body that this path takes, in bytes."""
    return MAX_BODIES.get(path, MAX_BODY)


def wants_json() -> bool:
    """True where the answer, errors included, is JSON."""
    return request.path.startswith("/api/") or request.path == "/healthz"


def is_own_host(host: str) -> bool:
    """IP literals, localhost and this machine's names: none of them can be pointed here by an attacker."""
    match = _HOST.fullmatch(host)
    if match is None or int(match["port"] or 0) > 65535:
        return False
    name = match["name"].lower().rstrip(".")
    if name == "localhost" or _is_address(name):
        return True
    return name in wizard.current().names()


def is_same_origin(origin: str) -> bool:
    """True when `origin` is exactly this site: scheme, host and port."""
    return origin.lower() == f"{request.scheme}://{request.host}".lower()


def _check_host() -> Response | None:
    if is_own_host(request.host):
        return None
    # In plain text: what makes pages makes links, and this Host is not one to link to.
    message = _("This machine does not answer to that name. Open the address that its console shows.")
    return Response(message + "\n", 421, mimetype="text/plain")


def _check_body() -> None:
    if (request.content_length or 0) > max_body(request.path):
        abort(413, _("The request is too long: at most %(bytes)d bytes.") % {"bytes": max_body(request.path)})


def _check_origin() -> None:
    """Refuse what another site makes the operator's browser send.

    Only browsers send these headers, and a page cannot forge them; a plain HTTP client sends
    neither and carries no cookie that a browser lent it.
    """
    if request.method in SAFE_METHODS:
        return
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if site is not None and site not in ("same-origin", "none"):
        abort(403, _("This request came from another site and was refused."))
    # A browser under `Referrer-Policy: no-referrer` says `null` for our own forms as well; the
    # other header then tells them apart.
    is_ours = origin is None or is_same_origin(origin) or (origin == "null" and site == "same-origin")
    if not is_ours:
        abort(403, _("This request came from another site and was refused."))
    if request.path.startswith("/api/") and request.content_length and not _is_api_body():
        abort(415, _("Expected a body of type application/json."))


def _is_api_body() -> bool:
    # Forms of another site can send text/plain, never JSON without asking first (CORS).
    expected = "multipart/form-data" if request.path == "/api/restore-config" else "application/json"
    return request.mimetype == expected


def _require_login() -> AnyResponse | None:
    if request.endpoint in PUBLIC_ENDPOINTS or session.get("authenticated") is True:
        return None
    # Also where there is no such route: a visitor learns nothing about the routes.
    if wants_json():
        abort(401, _("Log in first."))
    return redirect(url_for("login.show"), 303)


def _require_order() -> AnyResponse | None:
    """A page opens when those before it are answered; otherwise the first of those opens."""
    trial.settle()
    parts = request.path.split("/")
    if len(parts) < 3 or parts[1] != "wizard" or request.endpoint in PUBLIC_ENDPOINTS:
        return None
    flow = wizard.current().flow
    page = flow.page(parts[2])
    blocking = flow.blocking(page, session) if page is not None else None
    return redirect(blocking.url, 303) if blocking is not None else None


def _move_secrets(response: Response) -> Response:
    """Hand over what a view stored, before the session is saved; without the worker nothing is kept."""
    from installer.web import errors  # noqa: PLC0415  (errors shows pages, which need this module)

    here = wizard.current()
    try:
        here.secrets.move(session, here.worker.keep)
    except Exception as error:
        here.secrets.drop(session)
        return errors.response_to(error)
    return response


def _add_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers[name] = value
    if request.endpoint not in ("static", "theme.stylesheet") or response.status_code >= 400:
        response.headers["Cache-Control"] = "no-store"
    response.headers.pop("Server", None)
    return response


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
