"""The public keys behind the fingerprints."""

from __future__ import annotations

from blockhost.engine_local.identity import PublicKey
from blockhost.engine_local.ledger.store import Ledger, now


def remember(ledger: Ledger, key: PublicKey) -> None:
    """Keep a public key; inside the caller's transaction. Knowing it already is fine."""
    ledger.execute(
        "INSERT INTO keys (fingerprint, public_key, added_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (key.fingerprint, key.line, now()),
    )


def public_key_of(ledger: Ledger, fingerprint: str) -> str | None:
    """The `authorized_keys` line of a fingerprint, if it was ever seen."""
    row = ledger.one("SELECT public_key FROM keys WHERE fingerprint = ?", (fingerprint,))
    return None if row is None else str(row["public_key"])
