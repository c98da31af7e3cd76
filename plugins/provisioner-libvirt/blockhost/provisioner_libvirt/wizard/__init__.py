"""What the installer imports of this provisioner (contract of plugins)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from blockhost.checks import Check
from blockhost.pipeline.context import StepContext
from blockhost.pipeline.step import Step
from blockhost.provisioner_libvirt.answers import SCHEMA, LibvirtAnswer, to_form
from blockhost.provisioner_libvirt.steps import STEPS
from blockhost.provisioner_libvirt.wizard.look import ACTION, look
from blockhost.provisioner_libvirt.wizard.page import SESSION_KEY, blueprint

__all__ = [
    "answers_schema",
    "blueprint",
    "get_checks",
    "get_finalization_steps",
    "get_progress_steps_meta",
    "get_setup_actions",
    "get_summary_data",
    "get_summary_template",
    "get_ui_params",
    "parse_answers",
    "to_form",
]


def get_finalization_steps() -> list[Step]:
    return list(STEPS)


def get_progress_steps_meta() -> list[dict[str, str]]:
    return [{"id": step.id, "label": step.label, "hint": step.hint} for step in STEPS]


def get_summary_data(session: Mapping[str, Any]) -> dict[str, Any]:
    return dict(session.get(SESSION_KEY) or {})


def get_summary_template() -> str:
    return "provisioner_libvirt/summary.html"


def get_ui_params(session: Mapping[str, Any]) -> dict[str, Any]:
    """Texts for pages of the installer."""
    answers = session.get(SESSION_KEY) or {}
    return {
        "knock_ports_default": "22",
        "storage_hint": str(answers.get("storage_path", "")),
    }


def parse_answers(form: Mapping[str, str]) -> dict[str, Any]:
    """The answers in a form; AnswerError names the field that is not acceptable."""
    return LibvirtAnswer.from_form(form).to_session()


def answers_schema() -> dict[str, Any]:
    """JSON Schema of the form's fields."""
    return dict(SCHEMA)


def get_setup_actions() -> dict[str, Callable[[StepContext, dict[str, Any]], dict[str, Any]]]:
    """What the page has done as root: looking at pools, bridges and the network."""
    return {ACTION: look}


def get_checks() -> list[Check]:
    """What validation looks at."""
    # Only validation asks; the wizard starts without what checks bring along.
    from blockhost.provisioner_libvirt.checks import CHECKS  # noqa: PLC0415

    return list(CHECKS)
