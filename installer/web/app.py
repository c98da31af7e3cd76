"""Wires the wizard together. The guard comes first; everything else is pages and routes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from flask import Flask, Request, session
from jinja2 import FileSystemBytecodeCache
from werkzeug.middleware.proxy_fix import ProxyFix

from blockhost.files import make_dir
from blockhost.plugin_api import export
from installer.discovery import Plugin
from installer.web import api, errors, guard, login, pages, plugin_pages, texts, theme, trial, wizard
from installer.web.sessions import ServerSessions, SessionStore

log = logging.getLogger(__name__)

#: Fields of one form; a signature is the longest.
MAX_FORM_PARTS = 200


class CappedRequest(Request):
    """A request whose body is capped by its path; Flask's own cap is one for all."""

    max_form_parts = MAX_FORM_PARTS

    @property
    def max_content_length(self) -> int:  # type: ignore[override]
        return guard.max_body(self.path)


def create_app(here: wizard.Wizard) -> Flask:
    """The wizard as a WSGI application, to be served behind one proxy that sets X-Forwarded-*."""
    app = Flask(__name__)
    app.request_class = CappedRequest
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions[wizard.EXTENSION] = here
    app.session_interface = ServerSessions(SessionStore(here.session_dir))
    # nginx is the only one that can connect, and it replaces what a client claims.
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]
    _keep_compiled_templates(app, here.session_dir.parent / "templates")
    texts.install(app)
    guard.install(app)
    errors.install(app)
    plugin_pages.install(app, here)
    for blueprint in (login.page, theme.page, *pages.PAGES, *api.ROUTES):
        app.register_blueprint(blueprint)
    _offer_names(app, here)
    return app


def _keep_compiled_templates(app: Flask, directory: Path) -> None:
    """After a restart the first page need not compile its templates again."""
    make_dir(directory, mode=0o700)
    app.jinja_env.bytecode_cache = FileSystemBytecodeCache(str(directory))


def _offer_names(app: Flask, here: wizard.Wizard) -> None:
    """What templates and plugins may use, under the names of the contract."""
    flow = here.flow
    for page in flow.pages:
        # Names to redirect to; the route itself belongs to the page's own blueprint.
        app.add_url_rule(page.url, endpoint=page.endpoint, build_only=True)
    offered = {"wizard_next": flow.next_url, "wizard_nav": flow.nav}
    app.jinja_env.globals |= offered
    app.jinja_env.globals["wizard_steps"] = [
        {"id": page.id, "label": page.label, "endpoint": page.endpoint, "url": page.url}
        for page in flow.pages
    ]
    app.jinja_env.globals["wizard_page"] = flow.page
    app.extensions |= offered
    app.url_build_error_handlers.append(_accept_url)
    app.context_processor(lambda: _variables(here))


def _accept_url(error: Exception, endpoint: str, values: dict[str, Any]) -> str:
    """`url_for(wizard_nav(id).next)`, as some plugins write: it is a URL already."""
    if endpoint.startswith("/wizard/") and all(name.startswith("_") for name in values):
        return endpoint
    raise error


def _variables(here: wizard.Wizard) -> dict[str, Any]:
    if session.get("authenticated") is not True:
        return {"eng_ui": {}, "prov_ui": {}}
    return {
        "eng_ui": _ask(here.plugins.engine),
        "prov_ui": _ask(here.plugins.provisioner),
        "address_trial": trial.current(),
        "address_missed": session.get(trial.NOTICE),
    }


def _ask(plugin: Plugin | None) -> dict[str, Any]:
    """A plugin's words for its things; one that fails has none."""
    function = export(plugin.module, "get_ui_params") if plugin is not None else None
    if function is None or plugin is None:
        return {}
    try:
        found = function(session)
    except Exception as error:  # each page asks: one line is enough
        log.warning("get_ui_params of %s failed: %s", plugin.name, type(error).__name__)
        return {}
    return found if isinstance(found, dict) else {}
