"""The end of the wizard: `complete` takes its routes away, `reboot` restarts the machine."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from installer.web import wizard

api = Blueprint("power", __name__, url_prefix="/api")


@api.post("/complete")
def complete() -> Response:
    return jsonify(wizard.current().worker.complete())


@api.post("/reboot")
def reboot() -> Response:
    return jsonify(wizard.current().worker.reboot())
