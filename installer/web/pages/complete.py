"""Page `complete`: where the panel is, what was checked, and the end of the wizard."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for

from blockhost.errors import WorkerError
from installer.web import facts, wizard
from installer.web.pages.form import Shown
from installer.web.pages.install import recent_log

page = Blueprint("complete", __name__, url_prefix="/wizard/complete")


@page.get("", strict_slashes=False)
def show() -> Shown:
    status = wizard.current().worker.status()
    if status.get("status") != "completed":
        return redirect(url_for("install.show"), 303)
    steps = status.get("steps", {})
    return render_template(
        "wizard/complete.html",
        panel_url=panel_url(steps),
        signup_url=_data(steps, "signup").get("url"),
        https=_data(steps, "https"),
        fingerprint=facts.fingerprint(),
        report="\n".join(
            str(line.get("line", "")) for line in recent_log() if line.get("step") == "validate"
        ),
    )


@page.post("", strict_slashes=False)
def end() -> Shown:
    """Finish or reboot, for browsers without scripts."""
    worker = wizard.current().worker
    wants_reboot = request.form.get("action") == "reboot"
    if wants_reboot:
        worker.reboot()
    else:
        worker.complete()
    try:
        steps = worker.status().get("steps", {})
    except WorkerError:
        steps = {}
    return render_template("wizard/goodbye.html", wants_reboot=wants_reboot, panel_url=panel_url(steps))


def panel_url(steps: dict[str, Any]) -> str:
    """The admin panel on the site that this page came from."""
    prefix = str(_data(steps, "nginx").get("path_prefix") or "/admin")
    return f"https://{request.host}{prefix}/"


def _data(steps: dict[str, Any], step_id: str) -> dict[str, Any]:
    data = steps.get(step_id, {}).get("data")
    return data if isinstance(data, dict) else {}
