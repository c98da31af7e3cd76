"""The plan of a finalization, and everything that needs a plugin's code: it all runs in children.

Order (contracts): engine pre-steps, provisioner steps, ipv6, https, signup, nginx, engine
post-steps, finalize, validate.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from blockhost.errors import BlockhostError, ManifestError, StepFailed
from blockhost.i18n import gettext as _
from blockhost.paths import on_appliance, setup_dir
from blockhost.pipeline.context import StepContext
from blockhost.pipeline.step import Change, Step
from blockhost.plugin_api import as_steps, export
from installer import discovery
from installer.answers import Answers, config_from_session
from installer.finalize.run import StepInfo
from installer.finalize.steps import complete, https, ipv6, nginx, signup, validate
from installer.network import actions as network_actions

OWN_MIDDLE = (ipv6.STEP, https.STEP, signup.STEP, nginx.STEP)
OWN_END = (complete.STEP, validate.STEP)

_held: list[int] = []


def steps() -> tuple[Step, ...]:
    """The plan, for the process that runs one of its steps.

    That process waits here until no other step runs: a worker that was killed may leave a step
    behind for an instant, and two steps at once is what no step expects.
    """
    if not _held:
        descriptor = os.open(setup_dir() / "step.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _held.append(descriptor)  # kept until this process ends
    return plan()


def plan() -> tuple[Step, ...]:
    """All steps in contract order.

    Raises:
        ManifestError: a plugin is missing or broken, or two steps share an id.
    """
    found = installed()
    engine, provisioner = found.engine, found.provisioner
    return in_order(
        before=_steps_of(engine, "get_finalization_steps", engine.manifest.finalization_steps),
        provisioner=_steps_of(provisioner, "get_finalization_steps", provisioner.manifest.finalization_steps),
        after=_steps_of(engine, "get_post_finalization_steps", engine.manifest.post_finalization_steps),
    )


def in_order(
    *, before: Sequence[Step], provisioner: Sequence[Step], after: Sequence[Step]
) -> tuple[Step, ...]:
    """The recipe: who comes when.

    Raises:
        ManifestError: two steps share an id.
    """
    ordered = (*before, *provisioner, *OWN_MIDDLE, *after, *OWN_END)
    seen: set[str] = set()
    for step in ordered:
        if step.id in seen:
            raise ManifestError("plan", step.id, _("two steps have this id"))
        seen.add(step.id)
    return ordered


def installed() -> Any:
    """Both plugins.

    Raises:
        ManifestError: one is missing or broken; names every problem.
    """
    found = discovery.discover()
    if found.engine is None or found.provisioner is None:
        problems = "; ".join(problem.message for problem in found.problems) or _("no plugins are installed")
        raise ManifestError("plugins", "", problems)
    return found


# --- functions that the worker calls in a child ----------------------------------------------


def describe(context: StepContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Every step's description: {steps: [...]}."""
    return {"steps": [asdict(StepInfo.of(step)) for step in plan()]}


def configure(context: StepContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """Typed answers as the configuration that steps see: {config}.

    Raises:
        AnswerError: names the field.
    """
    found = installed()
    manifests = found.engine.manifest, found.provisioner.manifest
    session = arguments["answers"]
    Answers.from_session(
        session, *manifests, engine_module=found.engine.module, provisioner_module=found.provisioner.module
    )
    # What was said, not what was parsed: a placeholder of a secret must stay one.
    return {"config": config_from_session(session, *manifests)}


def changes(context: StepContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """What one step would change: {changes: [...]}; nothing is touched."""
    step = next(step for step in plan() if step.id == arguments["step_id"])
    planned = step.plan(context) if step.plan else ()
    return {"changes": [_as_change(item, step.id) for item in planned]}


def act(context: StepContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """One setup action, of a plugin or of the host's network: its own dict comes back.

    Raises:
        BlockhostError: no plugin offers it, or it failed.
    """
    name = arguments["name"]
    actions = network_actions.ACTIONS if name in network_actions.ACTIONS else _plugin_actions()
    if name not in actions:
        raise BlockhostError(_("no plugin offers the action %r") % name)
    result = actions[name](context, dict(arguments["params"]))
    if not isinstance(result, dict):
        raise BlockhostError(_("the action %r did not return an object") % name)
    return result


def _plugin_actions() -> dict[str, Any]:
    found = installed()
    actions: dict[str, Any] = {}
    for plugin in (found.engine, found.provisioner):
        offer = export(plugin.module, "get_setup_actions")
        actions |= offer() if offer else {}
    return actions


def encrypt(context: StepContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """`plaintext` encrypted by the engine under the admin signature: {ciphertext}."""
    function = export(installed().engine.module, "encrypt_config")
    if function is None:
        raise BlockhostError(_("this engine cannot encrypt a backup"))
    signature = context.secret("admin_signature").reveal()
    return {"ciphertext": str(function(signature, arguments["plaintext"]))}


def decrypt(context: StepContext, arguments: dict[str, Any]) -> dict[str, Any]:
    """A backup opened with the signature it was made under: {answers}."""
    function = export(installed().engine.module, "decrypt_config")
    if function is None:
        raise BlockhostError(_("this engine cannot decrypt a backup"))
    answers = function(context.secret("restore_signature").reveal(), arguments["ciphertext"])
    if not isinstance(answers, dict):
        raise StepFailed(_("the backup does not hold answers"))
    return {"answers": answers}


def _steps_of(plugin: Any, exported: str, announced: Sequence[str]) -> tuple[Step, ...]:
    owner = f"{plugin.manifest.name}: {exported}"
    returned = as_steps(getattr(plugin.module, exported)(), owner=owner)
    ids = [step.id for step in returned]
    if ids != list(announced):
        raise ManifestError(
            owner,
            "",
            _("returns the steps %(ids)s, the manifest announces %(announced)s")
            % {"ids": ids, "announced": list(announced)},
        )
    return returned


def _as_change(item: object, step_id: str) -> dict[str, str]:
    if not isinstance(item, Change):
        raise ManifestError(
            f"step {step_id}", "plan", _("expected Change, got %(kind)s") % {"kind": type(item).__name__}
        )
    target = on_appliance(str(item.target))
    return {"kind": str(item.kind), "target": target, "detail": str(item.detail)}
