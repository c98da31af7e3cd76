"""Page `summary`: the plan that the steps announce. What is shown is what gets confirmed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, redirect, render_template, request, session, url_for
from werkzeug.wrappers.response import Response

from blockhost.errors import WorkerError
from blockhost.i18n import gettext as _
from blockhost.plugin_api import export
from installer.discovery import Plugin
from installer.web import trial, wizard
from installer.web.pages.form import Shown

log = logging.getLogger(__name__)

page = Blueprint("summary", __name__, url_prefix="/wizard/summary")

TEMPLATE = "wizard/summary.html"


@dataclass(frozen=True, slots=True)
class PluginSummary:
    """What a plugin says about its own answers; `template` is empty where it failed."""

    title: str
    url: str
    template: str
    data: Mapping[str, Any]


@page.get("", strict_slashes=False)
def show() -> Shown:
    return _page()


@page.post("", strict_slashes=False)
def save() -> Shown:
    if request.form.get("confirm") != "yes":
        return _page(error=_("Confirm the plan to start: tick the box.")), 422
    if trial.current() is not None:
        return _page(error=_("A new address is still being tried: open it first, or choose another.")), 422
    here = wizard.current()
    try:
        here.worker.start(here.answers(), request.form.get("plan") or None)
    except WorkerError as error:
        if error.code == "running":
            return _to_progress()
        if error.code == "plan-changed":
            return _page(error=_("The plan has changed since it was shown. Look at it again.")), 422
        if error.code in ("unreachable", "internal"):
            raise
        return _page(error=str(error), hint=error.hint), 422
    return _to_progress()


def _to_progress() -> Response:
    return redirect(url_for("install.show"), 303)


def _page(*, error: str = "", hint: str = "") -> str:
    here = wizard.current()
    problem = None
    plan: Mapping[str, Any] = {}
    try:
        plan = here.worker.plan(here.answers())
    except WorkerError as refusal:
        if refusal.code == "unreachable":
            raise
        problem = refusal
    steps = plan.get("steps", [])
    engine, provisioner = _summary_of(here.plugins.engine), _summary_of(here.plugins.provisioner)
    return render_template(
        TEMPLATE,
        steps=steps,
        plan_hash=plan.get("hash", ""),
        problem=problem,
        expected_s=_expected(steps),
        engine=engine,
        provisioner=provisioner,
        engine_summary=engine.data if engine else {},
        provisioner_summary=provisioner.data if provisioner else {},
        answers=here.answers(),
        error=error,
        hint=hint,
    )


def _expected(steps: list[Mapping[str, Any]]) -> tuple[float, float]:
    """Shortest and longest usual duration of all steps together, in seconds."""
    pairs = [step.get("expect_s", (0, 60)) for step in steps]
    return sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)


def _summary_of(plugin: Plugin | None) -> PluginSummary | None:
    """A plugin's part of the summary; its failure costs that part only."""
    if plugin is None:
        return None
    title, url = plugin.manifest.display_name, f"/wizard/{plugin.name}"
    get_data, get_template = (
        export(plugin.module, "get_summary_data"),
        export(plugin.module, "get_summary_template"),
    )
    try:
        assert get_data is not None
        assert get_template is not None
        return PluginSummary(title, url, str(get_template()), dict(get_data(session)))
    except Exception:
        log.exception("the summary of %s failed", plugin.name)
        return PluginSummary(title, url, "", {})
