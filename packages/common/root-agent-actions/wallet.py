"""Making a key for a new wallet. The engine's own command makes it; only root's files hold it."""

from __future__ import annotations

import re
from typing import Any

from blockhost.command import run
from blockhost.config_files import HOT_KEY, ConfigFile, write_config
from blockhost.errors import RootAgentError
from blockhost.i18n import gettext as _
from blockhost.root_agent.action import action
from blockhost.root_agent.values import Address, WalletName
from blockhost.secret import Secret

KEY = re.compile(r"(?:0x)?[0-9a-fA-F]{64}")


@action(resource="wallets", is_slow=True)
def generate_wallet(name: WalletName) -> dict[str, Any]:
    """Make a key, keep it in `<name>.key`, and return its address. An existing key is never replaced."""
    row = HOT_KEY if name == "hot" else ConfigFile(f"{name}.key", 0o640, "root agent")
    if not row.path.exists():
        made = run(["bhcrypt", "generate-keypair"]).strip()
        if not KEY.fullmatch(made):
            raise RootAgentError(_("bhcrypt generate-keypair: expected a key of 64 hex digits"))
        # Written before its address is asked for: a kill in between leaves a key, not a lost one.
        write_config(row, made)
    key = Secret(row.path.read_text().strip())
    text = run(["bhcrypt", "key-to-address", "--key", "-"], stdin=key).strip()
    try:
        address = Address(text)
    except ValueError as error:
        raise RootAgentError(_("bhcrypt key-to-address: %(error)s") % {"error": error}) from None
    return {"address": str(address), "keyfile": f"/etc/blockhost/{row.name}"}


ACTIONS = {"generate-wallet": generate_wallet}
