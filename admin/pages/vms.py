"""`/vms`, `GET /api/vms`, `POST /api/vms/<name>/{start,stop,kill,destroy}`."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from typing import Any

from flask import Blueprint, abort, current_app, make_response, redirect, render_template, request, url_for

from admin import guard
from admin.guard import Reply
from admin.vms.actions import VERBS, ActionFailed, Actions, Busy, told
from admin.vms.inventory import CHARTS, Inventory
from blockhost import wall_clock
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.i18n import ngettext

blueprint = Blueprint("vms", __name__)

#: The contract's pattern of names in the panel, but for a first dash: a command would take it for an option.
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
#: From so many machines on, the page offers to look for some.
MANY = 8
CHART_WIDTH, CHART_HEIGHT = 120, 28


@blueprint.get("/vms")
def show() -> Reply:
    return page()


@blueprint.get("/api/vms")
def listing() -> Reply:
    try:
        found = machines()
        return {"vms": found, "summary": summary(found)}, 200
    except BlockhostError as error:
        return {"ok": False, "error": told(error)}, 503


@blueprint.post("/api/vms/<name>/<verb>")
def act(name: str, verb: str) -> Reply:
    """Do it and wait, for a while: `pending` says that it still goes on."""
    if not NAME.fullmatch(name) or verb not in VERBS:
        abort(404)
    if verb == "destroy" and not guard.wants_json() and request.form.get("confirm", "").strip() != name:
        return page(problem=_("Type the name of the machine to destroy it."), about=name, code=422)
    try:
        ended = _actions().run(verb, name)
    except (ActionFailed, Busy) as error:
        code = 409 if isinstance(error, Busy) else 422
        if guard.wants_json():
            return {"ok": False, "error": str(error)}, code
        return page(problem=str(error), about=name, code=code)
    if guard.wants_json():
        return {"ok": True, **({} if ended else {"pending": True})}, 200
    return redirect(url_for("vms.show"), code=303)


def machines() -> list[dict[str, Any]]:
    """The inventory, with what is going on: `busy` (a verb) and `problem` (of an action that failed)."""
    inventory: Inventory = current_app.extensions["inventory"]
    running, failed = _actions().running(), _actions().failed()
    return [
        {
            **machine,
            "busy": running.get(machine["name"], ""),
            "problem": failed.get(machine["name"], ""),
            "shown": shown(machine, running.get(machine["name"], "")),
            "charts": {name: points(machine["history"].get(name, [])) for name, _used, _whole in CHARTS},
        }
        for machine in inventory.machines()
    ]


def shown(machine: dict[str, Any], busy: str = "") -> dict[str, str]:
    """The changing texts as the page writes them, by field; its script puts the same ones there."""
    metrics = machine["metrics"] or {}
    expires = machine["expires_at"]
    # A machine that the database does not know is not one that lives for ever.
    without_end = _("never") if machine["vmid"] is not None else "–"
    return {
        "busy": _("%(verb)s is going on …") % {"verb": busy} if busy else "",
        "expires": moment(expires) if expires else without_end,
        "cpu": figure(metrics.get("cpu_percent"), "%"),
        "memory": figure(metrics.get("memory_used_mb"), "MB"),
        "rx": rate(metrics.get("net_rx_bytes_sec")),
        "tx": rate(metrics.get("net_tx_bytes_sec")),
    }


def summary(found: list[dict[str, Any]]) -> str:
    """How many machines there are, and how many in each state: `3 machines: 2 active, 1 suspended`."""
    states = Counter(str(machine["status"]) for machine in found)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    many = ngettext("%(count)d machine", "%(count)d machines", len(found)) % {"count": len(found)}
    return f"{many}: {counts}" if found else ""


def page(*, problem: str = "", about: str = "", code: int = 200) -> Reply:
    """The page; with a problem, said where it belongs."""
    unavailable = ""
    try:
        found = machines()
    except BlockhostError as error:
        found, unavailable = [], told(error)
    html = render_template(
        "vms.html",
        machines=found,
        summary=summary(found),
        width=CHART_WIDTH,
        height=CHART_HEIGHT,
        problem=problem,
        about=about,
        unavailable=unavailable,
        clock=wall_clock.read(),
        moment=moment,
        many=MANY,
    )
    reply = make_response(html, code)
    reply.headers["Content-Security-Policy"] = guard.POLICY_WITH_SCRIPTS
    return reply


def moment(text: object) -> str:
    """A record's time for people; what is none is shown as it is."""
    try:
        return wall_clock.as_text(datetime.datetime.fromisoformat(str(text)))
    except ValueError:
        return str(text)


def points(values: list[float | None], slots: int = 60) -> str:
    """An SVG polyline's points, newest on the right; where a value is missing, the line is not drawn."""
    step = CHART_WIDTH / (slots - 1)
    first = slots - len(values)
    return " ".join(
        f"{(first + index) * step:.1f},{CHART_HEIGHT * (1 - value / 100):.1f}"
        for index, value in enumerate(values)
        if value is not None
    )


def figure(value: object, unit: str) -> str:
    """A metric with its unit; a dash where it is not known (the contract's -1)."""
    return f"{value:.10g} {unit}" if isinstance(value, int | float) and value >= 0 else "–"


def rate(value: object) -> str:
    """Bytes a second, in thousands."""
    if not isinstance(value, int | float) or value < 0:
        return "–"
    return figure(round(value / 1000, 1), "kB/s")


def _actions() -> Actions:
    actions: Actions = current_app.extensions["actions"]
    return actions
