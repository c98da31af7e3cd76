"""What the wizard may know about the machine: medium, network, disks."""

from __future__ import annotations

from flask import Blueprint, Response, abort, jsonify

from blockhost.errors import WorkerError
from blockhost.i18n import gettext as _
from installer.web import facts, trial, wizard
from installer.web.api import body

api = Blueprint("host", __name__, url_prefix="/api")


@api.get("/status")
def status() -> Response:
    return jsonify(boot_medium=facts.boot_medium(), network=facts.network())


@api.get("/network/interfaces")
def interfaces() -> Response:
    return jsonify(facts.interfaces())


@api.get("/storage/disks")
def disks() -> Response:
    return jsonify(facts.disks())


@api.get("/network/trial")
def trial_now() -> Response:
    """The address that is being tried, empty when none is, and how long it stays unconfirmed."""
    tried = trial.current()
    return jsonify(address=tried.address if tried else "", seconds_left=tried.seconds_left if tried else 0)


@api.post("/network/confirm")
def confirm() -> Response:
    """Keep an address that is being tried; only a request to that very address can."""
    trial.confirm()
    return jsonify(status="kept")


@api.post("/network/dhcp")
def dhcp() -> Response:
    """Ask for a lease on one interface. The worker does it: this process may not."""
    fields = body.fields()
    interface = body.optional_text(fields, "interface")
    body.refuse_unknown(fields)
    known = {item["name"] for item in facts.interfaces()}
    if interface not in known:
        abort(
            400,
            _("body: interface: expected one of %(names)s, got %(interface)r")
            % {"names": ", ".join(sorted(known)) or _("none"), "interface": interface},
        )
    try:
        result = wizard.current().worker.action("network-dhcp", {"interface": interface}, {})
    except WorkerError as error:
        return jsonify(success=False, message=str(error), ip=None)
    return jsonify(success=True, message=str(result.get("message", "")), ip=result.get("ip"))
