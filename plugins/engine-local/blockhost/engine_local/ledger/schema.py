"""The ledger's tables, as numbered migrations. A number that was released is never edited.

`PRAGMA user_version` is the number of the last migration applied; each runs in one transaction
together with that number, so a power cut leaves the version before or the version after.
"""

from __future__ import annotations

APPLICATION_ID = 0x424C4831  # "BLH1": this file is a ledger and nothing else

MIGRATIONS: tuple[str, ...] = (
    # 1: who holds which credential. `once` names the occasion of a mint, so that it happens once.
    """
    CREATE TABLE keys (
        fingerprint TEXT PRIMARY KEY,
        public_key TEXT NOT NULL,
        added_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE credentials (
        id INTEGER PRIMARY KEY,
        owner TEXT NOT NULL,
        user_encrypted TEXT NOT NULL DEFAULT '0x',
        once TEXT UNIQUE,
        minted_at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX credentials_by_owner ON credentials (owner);
    """,
    # 2: what can be subscribed to.
    """
    CREATE TABLE plans (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        price_cents INTEGER NOT NULL CHECK (price_cents >= 0),
        cpu INTEGER NOT NULL CHECK (cpu > 0),
        memory_mb INTEGER NOT NULL CHECK (memory_mb > 0),
        disk_gb INTEGER NOT NULL CHECK (disk_gb > 0),
        active INTEGER NOT NULL DEFAULT 1
    ) STRICT;
    """,
    # 3: who subscribed to what, until when.
    """
    CREATE TABLE subscriptions (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        plan_id INTEGER NOT NULL REFERENCES plans (id),
        owner TEXT NOT NULL REFERENCES keys (fingerprint),
        once TEXT UNIQUE,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        cancelled_at INTEGER
    ) STRICT;
    CREATE INDEX subscriptions_by_owner ON subscriptions (owner);
    """,
    # 4: what the monitor must look at. Triggers, so that no change can forget to say so.
    """
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        subscription_id INTEGER NOT NULL,
        at INTEGER NOT NULL
    ) STRICT;
    INSERT INTO events (subscription_id, at) SELECT id, created_at FROM subscriptions ORDER BY id;
    CREATE TRIGGER subscription_granted AFTER INSERT ON subscriptions BEGIN
        INSERT INTO events (subscription_id, at) VALUES (new.id, unixepoch()); END;
    CREATE TRIGGER subscription_changed AFTER UPDATE ON subscriptions BEGIN
        INSERT INTO events (subscription_id, at) VALUES (new.id, unixepoch()); END;
    """,
)

LATEST = len(MIGRATIONS)
