"""The database's schema as numbered migrations; each runs once, in order."""

from __future__ import annotations

import sqlite3

from blockhost.errors import DamagedFile

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE vms (
            vm_name TEXT PRIMARY KEY,
            vmid INTEGER NOT NULL,
            ip_address TEXT,
            ipv6_address TEXT,
            status TEXT NOT NULL,
            owner TEXT NOT NULL,
            wallet_address TEXT,
            purpose TEXT NOT NULL,
            created_at TEXT NOT NULL,
            expires_at TEXT,
            suspended_at TEXT,
            destroyed_at TEXT,
            nft_token_id INTEGER,
            nft_minted INTEGER NOT NULL,
            nft_minted_at TEXT,
            gecos_synced INTEGER NOT NULL,
            node_id TEXT NOT NULL
        )""",
        "CREATE INDEX vms_by_status ON vms (status)",
        "CREATE TABLE addresses (address TEXT PRIMARY KEY, family INTEGER NOT NULL)",
        "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
    ),
)


def migrate(database: sqlite3.Connection) -> None:
    """Bring an open database to the newest schema; call it inside a transaction.

    Raises:
        DamagedFile: a newer version of the product wrote it.
    """
    version = int(database.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise DamagedFile(
            "VM database", f"schema {version} is newer than this program", remedy="Upgrade blockhost-common"
        )
    for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        for statement in statements:
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {number}")
