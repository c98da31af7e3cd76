"""Step `mint_nft`: the administrator's credential, exactly once.

The mint carries its occasion (`admin:<fingerprint>`), which the ledger keeps unique: an attempt
that was killed behind the commit finds the credential instead of making a second one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from blockhost.config_files import BLOCKHOST, read_config, update_config
from blockhost.engine_local import identity
from blockhost.engine_local.identity import PublicKey
from blockhost.engine_local.ledger import LedgerMissing, credentials, open_ledger
from blockhost.errors import StepFailed
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.pipeline import Change, Step, StepContext


def run(context: StepContext) -> None:
    key = _administrator_key(context)
    occasion = _occasion(key.fingerprint)
    context.intent({"once": occasion})
    with open_ledger() as book:
        token = credentials.mint(book, key.fingerprint, key=key, once=occasion)
    update_config(BLOCKHOST, {"admin": {**_admin_section(), "credential_nft_id": token}})
    context.result({"token_id": token, "owner": key.fingerprint})
    context.log(f"credential {token} belongs to {key.fingerprint}")


def is_minted(context: StepContext) -> bool:
    """The credential exists, and `blockhost.yaml` names it."""
    wallet = str(context.config.get("admin_wallet", ""))
    try:
        with open_ledger() as book:
            minted = credentials.find_once(book, _occasion(wallet))
    except LedgerMissing:
        return False
    if minted is None or minted.public_key is None:
        return False
    # An attempt that was killed before its record still has a result.
    context.result({"token_id": minted.id, "owner": minted.owner})
    return _admin_section().get("credential_nft_id") == minted.id


def describe(context: StepContext) -> Sequence[Change]:
    wallet = str(context.config.get("admin_wallet", ""))
    return [
        Change("transaction", _("administrator's credential"), _("to %(owner)s") % {"owner": wallet}),
        Change("file", str(BLOCKHOST.path), _("the credential's number")),
    ]


def _administrator_key(context: StepContext) -> PublicKey:
    """The public key travels in the signature; the wallet page has checked it, and we do again."""
    message = str(context.config.get("admin_public_secret", ""))
    key = identity.signer_key(message, context.secret("admin_signature").reveal())
    if key.fingerprint != context.config.get("admin_wallet"):
        raise StepFailed(
            _("the administrator's signature was made by another key, %(found)s")
            % {"found": key.fingerprint},
            hint=_("Answer the wallet page again."),
        )
    return key


def _admin_section() -> dict[str, Any]:
    try:
        return (read_config(BLOCKHOST) or {}).get("admin") or {}
    except FileNotFoundError:
        return {}


def _occasion(fingerprint: str) -> str:
    return f"admin:{fingerprint}"


STEP = Step(
    "mint_nft",
    N_("Administrator's credential"),
    apply=run,
    check=is_minted,
    plan=describe,
    hint=N_("Makes your SSH key the owner of this host"),
    expect_s=(0, 5),
    timeout_s=60,
)
