"""The contract with a plugin's wizard module, as code.

A module is looked at once and complained about once, completely. Bare tuples, which older
plugins return as steps, are wrapped here and nowhere else: their `False` must not pass as success.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any, Literal, Protocol, cast, runtime_checkable

from blockhost.errors import ManifestError, StepFailed
from blockhost.i18n import gettext as _
from blockhost.manifest import STEP_ID
from blockhost.pipeline.context import StepContext
from blockhost.pipeline.step import Step
from blockhost.placeholders import hide_secrets, resolve_secrets
from blockhost.secret import Secret

PluginKind = Literal["engine", "provisioner"]

REQUIRED: Mapping[PluginKind, tuple[str, ...]] = {
    "engine": (
        "blueprint",
        "get_finalization_steps",
        "get_post_finalization_steps",
        "get_summary_data",
        "get_summary_template",
    ),
    "provisioner": ("blueprint", "get_finalization_steps", "get_summary_data", "get_summary_template"),
}

OPTIONAL_CALLABLES = (
    "get_ui_params",
    "get_progress_steps_meta",
    "validate_address",
    "validate_signature",
    "recover_signer",
    "get_wallet_template",
    "encrypt_config",
    "decrypt_config",
    "get_setup_actions",
    "get_checks",
    "parse_answers",
    "answers_schema",
    "to_form",
)


@runtime_checkable
class WizardModule(Protocol):
    """What every plugin's wizard module exports; optional exports are asked for with `export`."""

    blueprint: Any

    def get_finalization_steps(self) -> Sequence[Any]: ...

    def get_summary_data(self, session: Mapping[str, Any]) -> dict[str, Any]: ...

    def get_summary_template(self) -> str: ...


SetupAction = Callable[[StepContext, dict[str, Any]], dict[str, Any]]


def as_wizard_module(module: ModuleType, *, kind: PluginKind) -> WizardModule:
    """Accept a module that keeps the contract.

    Raises:
        ManifestError: names everything that it lacks or has in the wrong shape.
    """
    faults = [_("lacks %(name)s") % {"name": name} for name in REQUIRED[kind] if not hasattr(module, name)]
    for name in (*REQUIRED[kind], *OPTIONAL_CALLABLES):
        value = getattr(module, name, None)
        if value is not None and name != "blueprint" and not callable(value):
            faults.append(_("%(name)s is not a function") % {"name": name})
    # Known by shape, not by class: the common library does not import Flask.
    blueprint = getattr(module, "blueprint", None)
    if blueprint is not None and not all(hasattr(blueprint, part) for part in ("name", "register")):
        faults.append(_("blueprint is not a flask.Blueprint"))
    if faults:
        raise ManifestError(module.__name__, "", "; ".join(faults))
    return cast(WizardModule, module)


def export(module: WizardModule, name: str) -> Callable[..., Any] | None:
    """An optional export of a wizard module, or None."""
    function = getattr(module, name, None)
    return function if callable(function) else None


def as_steps(items: object, *, owner: str) -> tuple[Step, ...]:
    """The steps that a plugin returned: `Step` objects, or bare tuples, wrapped.

    Raises:
        ManifestError: names `owner`, the position, and what is wrong.
    """
    if not isinstance(items, Iterable) or isinstance(items, str | bytes | Mapping):
        raise ManifestError(
            owner, "", _("expected a list of steps, got %(kind)s") % {"kind": type(items).__name__}
        )
    steps = tuple(_as_step(item, owner, index) for index, item in enumerate(items))
    seen: set[str] = set()
    for step in steps:
        if step.id in seen:
            raise ManifestError(owner, step.id, _("two steps have this id"))
        seen.add(step.id)
    return steps


def _as_step(item: object, owner: str, index: int) -> Step:
    if isinstance(item, Step):
        if not STEP_ID.fullmatch(item.id):
            raise ManifestError(owner, f"[{index}]", _("expected a step id, got %(id)r") % {"id": item.id})
        return item
    if not isinstance(item, tuple) or len(item) not in (3, 4):
        raise ManifestError(
            owner,
            f"[{index}]",
            _("expected a Step or (id, label, func[, hint]), got %(kind)s") % {"kind": type(item).__name__},
        )
    step_id, label, function, hint = (*item, "")[:4]
    if not isinstance(step_id, str) or not re.fullmatch(STEP_ID, step_id):
        raise ManifestError(
            owner, f"[{index}]", _("expected a step id, got %(step_id)r") % {"step_id": step_id}
        )
    if not isinstance(label, str) or not callable(function):
        raise ManifestError(owner, step_id, _("expected (id, label, func[, hint])"))
    return Step(step_id, label, apply=_adapt(step_id, function), hint=str(hint or ""), timeout_s=1800)


def _adapt(step_id: str, function: Callable[[dict[str, Any]], Any]) -> Callable[[StepContext], None]:
    """Wrap `func(config) -> (ok, error)`.

    Such a function finds secrets in `config` itself. It gets a copy with them; placeholders stand in
    what is kept of its changes.
    """

    def apply(context: StepContext) -> None:
        secrets: dict[str, Secret] = {}
        config = resolve_secrets(context.config, lambda name: secrets.setdefault(name, context.secret(name)))
        outcome = function(config)
        kept = hide_secrets(config, secrets)
        context.config.clear()
        context.config.update(kept)
        data = context.config.pop(f"_step_result_{step_id}", None)
        if not isinstance(outcome, tuple) or len(outcome) != 2 or not isinstance(outcome[0], bool):
            raise StepFailed(
                _("step %(step_id)s returned %(kind)s, expected (bool, str or None)")
                % {"step_id": step_id, "kind": type(outcome).__name__}
            )
        ok, error = outcome
        if not ok:
            raise StepFailed(
                str(error or _("step %(step_id)s failed without a reason") % {"step_id": step_id})
            )
        if data is not None:
            if not isinstance(data, dict):
                raise StepFailed(
                    _("_step_result_%(step_id)s is %(kind)s, expected dict")
                    % {"step_id": step_id, "kind": type(data).__name__}
                )
            context.result(data)

    return apply
