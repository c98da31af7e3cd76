"""`/wizard/network/confirm`: opened under a new address, it proves that the address works.

Open without a session, as the browser has none here yet: the link's token is what counts.
"""

from __future__ import annotations

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers.response import Response

from blockhost.i18n import gettext as _
from installer.web import trial

page = Blueprint("network_trial", __name__, url_prefix="/wizard/network")


@page.get("/confirm")
def show() -> str:
    token = request.args.get("token", "")
    if trial.by_link(token) is None:
        abort(404, _("This link is no longer valid: it works once, and as long as the address is tried."))
    return render_template("wizard/network_trial.html", token=token, host=request.host)


@page.post("/confirm")
def confirm() -> Response:
    if not trial.move_here(request.form.get("token", "")):
        abort(404, _("This link is no longer valid: it works once, and as long as the address is tried."))
    trial.keep()
    return redirect(url_for("start.show"), 303)
