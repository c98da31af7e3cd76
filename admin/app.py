"""Wiring of the panel."""

from __future__ import annotations

from flask import Flask, render_template
from jinja2 import StrictUndefined
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from admin import guard
from admin.guard import Reply
from admin.login import pages as login_pages
from admin.login.challenges import Challenges
from admin.login.owner import Owner
from admin.login.sessions import Sessions
from admin.pages import settings, system, vms
from admin.vms.actions import Actions
from admin.vms.inventory import Inventory
from blockhost.i18n import gettext, ngettext

MAX_BODY = 64 * 1024


def create_app(
    *, challenges: Challenges | None = None, sessions: Sessions | None = None, owner: Owner | None = None
) -> Flask:
    """The panel; tests bring stores with clocks of their own."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_gettext_callables(gettext, ngettext, newstyle=True)
    app.extensions["challenges"] = Challenges() if challenges is None else challenges
    app.extensions["sessions"] = Sessions() if sessions is None else sessions
    app.extensions["owner"] = Owner() if owner is None else owner
    inventory = Inventory()
    app.extensions["inventory"] = inventory
    app.extensions["actions"] = Actions(when_done=inventory.forget)
    app.before_request(guard.check)
    app.after_request(guard.add_headers)
    for blueprint in (login_pages.blueprint, system.blueprint, settings.blueprint, vms.blueprint):
        app.register_blueprint(blueprint)
    app.register_error_handler(HTTPException, _explain)
    # nginx is the only peer, and it replaces what a client claims (blockhost.nginx_site).
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)  # type: ignore[method-assign]
    return app


def _explain(error: HTTPException) -> Reply:
    """Errors in the form that the client asked for; never a traceback."""
    code = error.code or 500
    if guard.wants_json():
        return {"ok": False, "error": error.description or error.name}, code
    return render_template("error.html", code=code, name=error.name, text=error.description), code
