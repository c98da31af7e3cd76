"""What happened to subscriptions, in order: the ledger's triggers write it, the monitor reads it."""

from __future__ import annotations

from blockhost.engine_local.ledger.store import Ledger

#: Events in one portion.
PORTION = 200


def after(ledger: Ledger, position: int, limit: int = PORTION) -> list[tuple[int, int]]:
    """Event number and subscription, behind that event, oldest first."""
    rows = ledger.execute(
        "SELECT id, subscription_id FROM events WHERE id > ? ORDER BY id LIMIT ?", (position, limit)
    )
    return [(int(row["id"]), int(row["subscription_id"])) for row in rows]
