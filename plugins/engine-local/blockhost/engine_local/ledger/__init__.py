"""The ledger: credentials, plans and subscriptions of this host, in /var/lib/blockhost/ledger.db.

with open_ledger() as ledger:
    token = credentials.mint(ledger, owner, once="order 12")
"""

from blockhost.engine_local.ledger.store import Ledger, LedgerMissing, create, open_ledger, path

__all__ = ["Ledger", "LedgerMissing", "create", "open_ledger", "path"]
