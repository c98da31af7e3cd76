"""What the operator says on this engine's page: the first plan, and how customers ask for one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from blockhost.engine_local import SESSION_KEY
from blockhost.engine_local.ledger import plans
from blockhost.engine_local.ledger.plans import LIMITS, Offer
from blockhost.errors import AnswerError, StepFailed
from blockhost.i18n import gettext as _

MAX_CONTACT = 200

DEFAULTS = {
    "plan_name": "Small",
    "plan_price_cents": "50",
    "plan_cpu": "1",
    "plan_memory_mb": "2048",
    "plan_disk_gb": "20",
    "contact": "",
}
"""The page before its first answer."""


class AnswersRefused(AnswerError):
    """Every fault of one form in `problems`; by itself it is the first of them."""

    def __init__(self, problems: Sequence[AnswerError]) -> None:
        super().__init__(problems[0].field, str(problems[0]))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class EngineAnswers:
    """The answers, checked."""

    plan: Offer
    contact: str = ""

    @classmethod
    def from_form(cls, form: Mapping[str, str]) -> EngineAnswers:
        """Read the form (or the same fields of an answers file, whose numbers may be numbers).

        Raises:
            AnswersRefused: names every field that is wrong, and what is expected there.
        """
        problems: list[AnswerError] = []

        def read(field: str, check: Callable[[str], Any]) -> Any:
            try:
                return check(str(form.get(field, "")))
            except ValueError as error:
                problems.append(AnswerError(field, str(error)))

        name = read("plan_name", plans.check_name)
        numbers = {key: read(f"plan_{key}", partial(plans.check_number, key)) for key in LIMITS}
        contact = read("contact", _check_contact)
        if problems:
            raise AnswersRefused(problems)
        return cls(plan=Offer(name=name, **numbers), contact=contact)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> EngineAnswers:
        """The same, out of a run's configuration.

        Raises:
            StepFailed: the page was not answered.
        """
        section = config.get(SESSION_KEY)
        if not isinstance(section, Mapping):
            raise StepFailed(_("the page of the local engine was not answered"))
        try:
            return cls.from_form({key: str(value) for key, value in section.items()})
        except AnswerError as error:
            raise StepFailed(f"{error.field}: {error}", hint=_("Answer the engine's page again.")) from error

    def to_session(self) -> dict[str, Any]:
        """For the session, under this engine's key."""
        return {
            "plan_name": self.plan.name,
            **{f"plan_{key}": getattr(self.plan, key) for key in LIMITS},
            "contact": self.contact,
        }


def parse_answers(form: Mapping[str, str]) -> dict[str, Any]:
    """Form fields to session values; raises AnswersRefused."""
    return EngineAnswers.from_form(form).to_session()


def to_form(answers: Mapping[str, Any]) -> dict[str, str]:
    """The inverse of `parse_answers`."""
    return {key: str(answers.get(key, default)) for key, default in DEFAULTS.items()}


def answers_schema() -> dict[str, Any]:
    """JSON Schema of the form fields, for answers files."""
    numbers = {
        f"plan_{key}": {"type": "integer", "minimum": limit.least, "maximum": limit.most}
        for key, limit in LIMITS.items()
    }
    numbers["plan_price_cents"]["description"] = "US cents per day"
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["plan_name", *numbers],
        "properties": {
            "plan_name": {"type": "string", "minLength": 1, "maxLength": plans.MAX_NAME},
            **numbers,
            "contact": {
                "type": "string",
                "maxLength": MAX_CONTACT,
                "description": "How customers reach the operator; shown on the signup page",
            },
        },
    }


def _check_contact(text: str) -> str:
    contact = text.strip()
    if len(contact) > MAX_CONTACT or not contact.isprintable():
        raise ValueError(_("expected one line of at most %(most)d characters") % {"most": MAX_CONTACT})
    return contact
