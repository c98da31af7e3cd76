"""Credentials: numbered from 0, each with one owner and a text encrypted for that owner."""

from __future__ import annotations

from dataclasses import dataclass

from blockhost.engine_local.identity import PublicKey
from blockhost.engine_local.ledger import keys
from blockhost.engine_local.ledger.store import Ledger, now
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _

_COLUMNS = """
    SELECT id, owner, public_key, user_encrypted
    FROM credentials LEFT JOIN keys ON fingerprint = owner
"""


@dataclass(frozen=True, slots=True)
class Credential:
    """What a chain would call an NFT. `public_key` is known when the owner has shown it."""

    id: int
    owner: str
    public_key: str | None
    user_encrypted: str


def mint(
    ledger: Ledger,
    owner: str,
    *,
    key: PublicKey | None = None,
    user_encrypted: str = "0x",
    once: str | None = None,
) -> int:
    """A new credential's number.

    `once` names the occasion ("admin:SHA256:…"): minting again for the same occasion returns the
    number from the first time. Numbers are never used twice.
    """
    with ledger.transaction():
        if key is not None:
            keys.remember(ledger, key)
        if once is not None:
            known = ledger.one("SELECT id, owner FROM credentials WHERE once = ?", (once,))
            if known is not None:
                _check_same_owner(known["owner"], owner, once)
                return int(known["id"])
        token = int(ledger.execute("SELECT COALESCE(MAX(id) + 1, 0) FROM credentials").fetchone()[0])
        ledger.execute(
            "INSERT INTO credentials (id, owner, user_encrypted, once, minted_at) VALUES (?, ?, ?, ?, ?)",
            (token, owner, user_encrypted, once, now()),
        )
        return token


def get(ledger: Ledger, token: int) -> Credential:
    """The credential of that number.

    Raises:
        BlockhostError: it was never minted.
    """
    row = ledger.one(f"{_COLUMNS} WHERE id = ?", (token,))
    if row is None:
        raise _unknown(token)
    return Credential(**row)


def find_once(ledger: Ledger, once: str) -> Credential | None:
    """What was minted for this occasion, if anything was."""
    row = ledger.one(f"{_COLUMNS} WHERE once = ?", (once,))
    return None if row is None else Credential(**row)


def owned_by(ledger: Ledger, owner: str) -> list[Credential]:
    return [Credential(**row) for row in ledger.execute(f"{_COLUMNS} WHERE owner = ? ORDER BY id", (owner,))]


def set_user_encrypted(ledger: Ledger, token: int, text: str) -> None:
    """Replace the text for the owner; `text` is hex after `0x`."""
    with ledger.transaction():
        put_user_encrypted(ledger, token, text)


def put_user_encrypted(ledger: Ledger, token: int, text: str) -> None:
    """The same inside the caller's transaction."""
    changed = ledger.execute("UPDATE credentials SET user_encrypted = ? WHERE id = ?", (text, token))
    if changed.rowcount != 1:
        raise _unknown(token)


def transfer(ledger: Ledger, token: int, key: PublicKey) -> None:
    """Give a credential to another key."""
    with ledger.transaction():
        keys.remember(ledger, key)
        changed = ledger.execute("UPDATE credentials SET owner = ? WHERE id = ?", (key.fingerprint, token))
        if changed.rowcount != 1:
            raise _unknown(token)


def _check_same_owner(known: str, wanted: str, once: str) -> None:
    if known != wanted:
        raise BlockhostError(
            _("For “%(once)s” a credential was already minted to %(owner)s") % {"once": once, "owner": known}
        )


def _unknown(token: int) -> BlockhostError:
    return BlockhostError(_("There is no credential %(token)d on this host.") % {"token": token})
