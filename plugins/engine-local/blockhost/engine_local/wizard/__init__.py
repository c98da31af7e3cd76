"""What the installer imports: the engine's page, steps, formats and checks (plugin contract)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from blockhost.checks import Check
from blockhost.engine_local import SESSION_KEY, identity, steps
from blockhost.engine_local.answers import answers_schema, parse_answers, to_form
from blockhost.engine_local.encryption import decrypt_config, encrypt_config
from blockhost.engine_local.ledger.plans import LIMITS, Offer
from blockhost.engine_local.signup import page as signup
from blockhost.engine_local.wizard.page import blueprint
from blockhost.i18n import gettext as _
from blockhost.pipeline import Step

__all__ = [
    "answers_schema",
    "blueprint",
    "decrypt_config",
    "encrypt_config",
    "get_checks",
    "get_finalization_steps",
    "get_post_finalization_steps",
    "get_progress_steps_meta",
    "get_summary_data",
    "get_summary_template",
    "get_ui_params",
    "get_wallet_template",
    "parse_answers",
    "recover_signer",
    "to_form",
    "validate_address",
    "validate_signature",
]


def get_finalization_steps() -> list[Step]:
    return list(steps.BEFORE)


def get_post_finalization_steps() -> list[Step]:
    return list(steps.AFTER)


def get_progress_steps_meta() -> list[dict[str, str]]:
    """What the progress page says before the worker has told it more."""
    return [{"id": step.id, "label": _(step.label), "hint": _(step.hint)} for step in _all_steps()]


def get_summary_data(session: Mapping[str, Any]) -> dict[str, Any]:
    """The plan and the contact, in words; empty before the page was answered."""
    answers = session.get(SESSION_KEY)
    if not isinstance(answers, Mapping):
        return {}
    offer = Offer(answers["plan_name"], **{key: answers[f"plan_{key}"] for key in LIMITS})
    return {
        "plan_name": offer.name,
        "plan": signup.summary(offer),
        "month": signup.price(offer.price_cents, signup.DAYS_A_MONTH),
        "contact": answers.get("contact", ""),
    }


def get_summary_template() -> str:
    return "engine_local/summary.html"


def get_wallet_template() -> str:
    return "engine_local/wallet.html"


def get_ui_params(_session: Mapping[str, Any]) -> dict[str, str]:
    """`eng_ui` in templates: what this engine calls things."""
    return {
        "wallet_label": _("SSH key fingerprint"),
        "signature_label": _("SSH signature"),
        "address_placeholder": "SHA256:…",
    }


def validate_address(address: str) -> bool:
    return identity.is_address(address)


def validate_signature(signature: str) -> bool:
    """Format only: whose it is, `recover_signer` tells."""
    return identity.is_signature(signature)


def recover_signer(message: str, signature: str) -> str:
    """The fingerprint behind the administrator's signature, for the wallet page.

    Raises:
        SignatureRefused: it does not fit, or it is of a key that signs differently each time: the
            same signature must open the configuration backup again.
    """
    key = identity.signer_key(message, signature)
    identity.require_deterministic(key.key_type)
    return key.fingerprint


def get_checks() -> Sequence[Check]:
    # Only validation asks; the wizard starts without what checks bring along.
    from blockhost.engine_local import checks  # noqa: PLC0415

    return checks.CHECKS


def _all_steps() -> tuple[Step, ...]:
    return (*steps.BEFORE, *steps.AFTER)
