"""Step `engine_config`: who the administrator is, and what customers sign.

Writes `blockhost.yaml`, the login part of `web3-defaults.yaml` (there is no chain to describe, and
no page that a browser wallet could sign on) and the administrator's entry in the addressbook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from blockhost.config_files import (
    ADDRESSBOOK,
    BLOCKHOST,
    WEB3_DEFAULTS,
    ConfigFile,
    read_config,
    update_config,
)
from blockhost.engine_local import identity
from blockhost.engine_local.answers import EngineAnswers
from blockhost.errors import StepFailed
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.pipeline import Change, Step, StepContext

MAX_COMMAND_AGE_S = 300


def run(context: StepContext) -> None:
    """Set our keys; what others wrote into these files stays."""
    for row, changes in _wanted(context).items():
        update_config(row, changes)
        context.log(f"{row.path} is up to date")


def is_written(context: StepContext) -> bool:
    return all(
        _read(row).get(key) == value
        for row, changes in _wanted(context).items()
        for key, value in changes.items()
    )


def describe(_context: StepContext) -> Sequence[Change]:
    return [
        Change("file", str(BLOCKHOST.path), _("administrator and public secret")),
        Change("file", str(WEB3_DEFAULTS.path), _("login settings of VMs")),
        Change("file", str(ADDRESSBOOK.path), _("the administrator's fingerprint")),
    ]


def _wanted(context: StepContext) -> dict[ConfigFile, dict[str, Any]]:
    wallet, public_secret = _administrator(context.config)
    return {
        BLOCKHOST: {
            "public_secret": public_secret,
            "admin": _admin(wallet, context.config),
            "fund_manager": {},
            "local": {"contact": EngineAnswers.from_config(context.config).contact},
        },
        WEB3_DEFAULTS: {
            "auth": {"otp_length": 6, "otp_ttl_seconds": 300, "public_secret": public_secret},
        },
        ADDRESSBOOK: {"admin": {"address": wallet}},
    }


def _admin(wallet: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The credential's number is written by `mint_nft`; for the same wallet it stays."""
    before = _read(BLOCKHOST).get("admin") or {}
    kept = before.get("credential_nft_id") if before.get("wallet_address") == wallet else None
    commands = config.get("admin_commands") or {}
    return {
        "wallet_address": wallet,
        "credential_nft_id": kept,
        "max_command_age": MAX_COMMAND_AGE_S,
        "destination_mode": commands.get("destination_mode") or "self",
    }


def _administrator(config: Mapping[str, Any]) -> tuple[str, str]:
    wallet, public_secret = config.get("admin_wallet"), config.get("admin_public_secret")
    if not isinstance(wallet, str) or not identity.is_address(wallet):
        raise StepFailed(
            _("the administrator's fingerprint is missing or malformed"),
            hint=_("Answer the wallet page again."),
        )
    if not isinstance(public_secret, str) or not public_secret:
        raise StepFailed(_("the public secret is missing"), hint=_("Answer the wallet page again."))
    return wallet, public_secret


def _read(row: ConfigFile) -> dict[str, Any]:
    try:
        return read_config(row) or {}
    except FileNotFoundError:
        return {}


STEP = Step(
    "engine_config",
    N_("Engine configuration"),
    apply=run,
    check=is_written,
    plan=describe,
    expect_s=(0, 5),
    timeout_s=60,
)
