"""Wires the wizard together. The guard comes first; everything else is pages and routes."""

from __future__ import annotations

import logging
from typing import Any

from flask import Flask, session

from blockhost.plugin_api import export
from installer.discovery import Plugin
from installer.web import api, pages, plugin_pages, trial, wizard
from installer.web.base import base_app

log = logging.getLogger(__name__)


def create_app(here: wizard.Wizard) -> Flask:
    """The wizard as a WSGI application, to be served behind one proxy that sets X-Forwarded-*."""
    app = base_app(here)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    plugin_pages.install(app, here)
    for blueprint in (*pages.PAGES, *api.ROUTES):
        app.register_blueprint(blueprint)
    _offer_names(app, here)
    return app


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
    # For a plugin's page: one of its setup actions, run as root in a child of the worker.
    app.extensions["wizard_action"] = lambda name, params: here.worker.action(name, params, {})
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
