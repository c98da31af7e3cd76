"""Validation: all checks of core and plugins, on demand, with a report for people and programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blockhost.checks import Check, CheckContext, Report, run_checks
from blockhost.files import write_atomic, write_json
from blockhost.paths import state_dir
from blockhost.pipeline.context import StepContext
from blockhost.plugin_api import export
from installer import discovery
from installer.validation.checks import clock, files, firewall, network, services, tls, vms

CORE = (files, services, network, firewall, clock, tls, vms)


def output_file() -> Any:
    """The text report; the JSON one lies beside it."""
    return state_dir() / "validation-output.txt"


def checks() -> list[Check]:
    """The core's tables, then what the plugins contribute."""
    found: list[Check] = [check for module in CORE for check in module.checks()]
    plugins = discovery.discover()
    for plugin in (plugins.engine, plugins.provisioner):
        offer = export(plugin.module, "get_checks") if plugin else None
        found += [check for check in (offer() if offer else ()) if isinstance(check, Check)]
    return found


def validate(config: Mapping[str, Any]) -> Report:
    """Run every check and write both reports."""
    report = run_checks(checks(), CheckContext(config))
    owner: dict[str, Any] = {"mode": 0o640, "owner": "blockhost", "group": "blockhost"}
    write_atomic(output_file(), report.as_text(), **owner)
    write_json(output_file().with_suffix(".json"), report.as_json(), **owner)
    return report


def in_child(context: StepContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """For the worker's `validate` command: {success, output, report}."""
    report = validate(context.config)
    return {"success": report.success, "output": report.as_text(), "report": report.as_json()}
