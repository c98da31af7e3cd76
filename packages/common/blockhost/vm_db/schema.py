"""The database's schema as numbered migrations; each runs once, in order. A released one is never edited."""

from __future__ import annotations

from blockhost.i18n import gettext_noop as N_
from blockhost.sqlite_file import Schema

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
    (
        # Who holds an address: one that is freed twice must not take it from its next holder.
        "ALTER TABLE addresses ADD COLUMN vm_name TEXT",
        """UPDATE addresses SET vm_name = (
            SELECT vm_name FROM vms
            WHERE status != 'destroyed' AND (ip_address = address OR ipv6_address = address)
        )""",
        # The next address in one look, however many are in use (addresses.py). Numbers are 32
        # hexadecimal digits: IPv6 does not fit SQLite's integers, and text of one length sorts.
        "CREATE TABLE pools (family INTEGER PRIMARY KEY, identity TEXT NOT NULL, next TEXT NOT NULL)",
        """CREATE TABLE released (
            family INTEGER NOT NULL, number TEXT NOT NULL, PRIMARY KEY (family, number)
        ) WITHOUT ROWID""",
        "CREATE INDEX vms_by_vmid ON vms (vmid)",
        "DROP INDEX vms_by_status",
        "CREATE INDEX vms_by_expiry ON vms (status, expires_at)",
    ),
)

SCHEMA = Schema(N_("VM database"), 0x424C4832, MIGRATIONS, first_table="vms")  # "BLH2"
