"""The plugins' own pages, behind the same guard; and the page that says why a plugin has none."""

from __future__ import annotations

import logging
from dataclasses import replace

from flask import Blueprint, Flask, abort, render_template

from blockhost.i18n import gettext as _
from installer.discovery import Plugin, PluginProblem, Plugins
from installer.web import wizard

log = logging.getLogger(__name__)

page = Blueprint("broken", __name__)


def install(app: Flask, here: wizard.Wizard) -> None:
    """Register the pages of every plugin whose blueprint can be registered."""
    for plugin in (here.plugins.engine, here.plugins.provisioner):
        if plugin is None:
            continue
        if faults := _trial(plugin):
            _mark_broken(here, PluginProblem(plugin.kind, plugin.name, faults))
        else:
            app.register_blueprint(plugin.module.blueprint)
    app.register_blueprint(page)


@page.route("/wizard/<step_id>", methods=["GET", "POST"])
def show(step_id: str) -> tuple[str, int]:
    """Everything that a broken plugin lacks; the rest of the wizard works meanwhile."""
    here = wizard.current()
    asked = here.flow.page(step_id)
    if asked is None or not asked.is_broken:
        abort(404)
    is_engine = here.flow.pages.index(asked) == ENGINE_POSITION
    problem = here.plugins.problem_of("engine" if is_engine else "provisioner")
    return render_template("wizard/broken_plugin.html", page=asked, problem=problem, is_engine=is_engine), 503


#: Wallet, network and storage come before.
ENGINE_POSITION = 3


def _trial(plugin: Plugin) -> tuple[str, ...]:
    """Faults that only registering shows, found on an application of no consequence."""
    trial = Flask("trial")
    try:
        trial.register_blueprint(plugin.module.blueprint)
    except Exception as error:
        log.exception("the blueprint of %s cannot be registered", plugin.name)
        return (
            _("its blueprint cannot be registered: %(kind)s: %(error)s")
            % {"kind": type(error).__name__, "error": error},
        )
    url = f"/wizard/{plugin.name}"
    served: set[str] = set()
    for rule in trial.url_map.iter_rules():
        if rule.rule.rstrip("/") == url:
            served |= rule.methods or set()
    return tuple(
        _("its blueprint does not serve %(method)s %(url)s") % {"method": method, "url": url}
        for method in ("GET", "POST")
        if method not in served
    )


def _mark_broken(here: wizard.Wizard, problem: PluginProblem) -> None:
    log.error("%s plugin %s: %s", problem.kind, problem.name, problem.message)
    plugins = replace(here.plugins, problems=(*here.plugins.problems, problem))
    here.use(_without(plugins, problem))


def _without(plugins: Plugins, problem: PluginProblem) -> Plugins:
    return replace(plugins, engine=None) if problem.kind == "engine" else replace(plugins, provisioner=None)
