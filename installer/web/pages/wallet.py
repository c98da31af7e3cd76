"""Page `wallet`: who administers the host, proven by a signature."""

from __future__ import annotations

import logging
from typing import Any

from flask import Blueprint, request, session

from blockhost.errors import AnswerError
from blockhost.i18n import gettext as _
from blockhost.plugin_api import export
from installer.web import wizard
from installer.web.pages.form import Shown, refused, saved, shown
from installer.web.secret_fields import SIGNATURE
from installer.web.sessions import KeptSecret

log = logging.getLogger(__name__)

page = Blueprint("wallet", __name__, url_prefix="/wizard/wallet")

OWN_TEMPLATE = "wizard/wallet.html"
#: What is signed unless the operator chooses otherwise.
DEFAULT_MESSAGE = "blockhost-access"


@page.get("", strict_slashes=False)
def show() -> Shown:
    form = {
        "admin_wallet": session.get("admin_wallet", ""),
        "public_secret": session.get("admin_public_secret", DEFAULT_MESSAGE),
    }
    return shown(_template(), form, **_variables())


@page.post("", strict_slashes=False)
def save() -> Shown:
    from installer.answers import WalletAnswer  # noqa: PLC0415

    if _is_unchanged():
        return saved("wallet", {})
    plugins = wizard.current().plugins
    try:
        answer = WalletAnswer.from_form(request.form)
        if plugins.engine is None or plugins.engine_manifest is None:
            raise AnswerError(
                SIGNATURE,
                _("it cannot be checked while the engine plugin is broken"),
                hint=_("The engine's page says what is wrong with it."),
            )
        answer.check(plugins.engine_manifest, plugins.engine.module)
    except AnswerError as error:
        return refused(_template(), error, **_variables())
    return saved("wallet", answer.to_session())


def _is_unchanged() -> bool:
    """The form as we showed it, signature left empty: the one that the worker keeps still holds."""
    return (
        isinstance(session.get(SIGNATURE), KeptSecret)
        and not request.form.get(SIGNATURE, "").strip()
        and request.form.get("admin_wallet", "").strip() == session.get("admin_wallet")
        and request.form.get("public_secret", "").strip() == session.get("admin_public_secret")
    )


def _template() -> str:
    """The engine's own wallet page, if it has one."""
    engine = wizard.current().plugins.engine
    choose = export(engine.module, "get_wallet_template") if engine is not None else None
    try:
        chosen = choose() if choose is not None else None
    except Exception:
        log.exception("get_wallet_template failed")
        chosen = None
    return chosen if isinstance(chosen, str) and chosen else OWN_TEMPLATE


def _variables() -> dict[str, Any]:
    manifest = wizard.current().plugins.engine_manifest
    return {
        "step_id": "wallet",
        "public_secret": DEFAULT_MESSAGE,
        "is_kept": isinstance(session.get(SIGNATURE), KeptSecret),
        "constraints": manifest.constraints if manifest is not None else None,
        "engine_name": manifest.display_name if manifest is not None else "",
    }
