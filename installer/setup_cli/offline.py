"""The plan of a setup without its worker: every step of core and plugins is asked right here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blockhost.errors import BlockhostError, ManifestError
from blockhost.i18n import gettext as _
from blockhost.pipeline.context import StepContext
from blockhost.pipeline.step import Change, Step
from blockhost.plugin_api import as_steps, export
from installer.answers import config_from_session
from installer.discovery import Plugins
from installer.finalize.commands import plan_hash
from installer.finalize.plan import in_order


def plan_of(session: Mapping[str, Any], plugins: Plugins) -> dict[str, Any]:
    """What each step says it would change, in the shape of the worker's `plan`."""
    assert plugins.engine is not None
    assert plugins.provisioner is not None
    engine, provisioner = plugins.engine_manifest, plugins.provisioner_manifest
    assert engine is not None
    assert provisioner is not None
    config = config_from_session(session, engine, provisioner)
    steps = [
        _described(step, config)
        for step in in_order(
            before=_steps(plugins.engine, "get_finalization_steps"),
            provisioner=_steps(plugins.provisioner, "get_finalization_steps"),
            after=_steps(plugins.engine, "get_post_finalization_steps"),
        )
    ]
    return {"steps": steps, "hash": plan_hash(steps)}


def _steps(plugin: Any, exported: str) -> tuple[Step, ...]:
    function = export(plugin.module, exported)
    return as_steps(function() if function else (), owner=f"{plugin.manifest.name}: {exported}")


def _described(step: Step, config: Mapping[str, Any]) -> dict[str, Any]:
    problem, changes = "", []
    try:
        context = StepContext(step_id=step.id, config=dict(config))
        changes = [_as_json(change, step.id) for change in (step.plan(context) if step.plan else ())]
    except BlockhostError as error:  # a step that cannot tell costs its own part only
        problem = str(error)
    except Exception as error:
        # Its text may hold anything; the kind of the fault is what helps.
        problem = _("internal error (%(kind)s)") % {"kind": type(error).__name__}
    return {
        "id": step.id,
        "label": str(step.label),
        "hint": str(step.hint),
        "irreversible": step.irreversible,
        "expect_s": list(step.expect_s),
        "changes": changes,
        "problem": problem,
    }


def _as_json(change: object, step_id: str) -> dict[str, str]:
    if not isinstance(change, Change):
        raise ManifestError(
            f"step {step_id}", "plan", _("expected Change, got %(kind)s") % {"kind": type(change).__name__}
        )
    return {"kind": str(change.kind), "target": str(change.target), "detail": str(change.detail)}
