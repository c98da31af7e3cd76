"""The embedded store: SQLite in WAL mode with synchronous FULL, one transaction a call.

What `allocate_*` returns is reserved at once and durably, so two processes never get the same.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from blockhost.errors import BlockhostError
from blockhost.vm_db.pools import PoolExhausted, Pools, Range
from blockhost.vm_db.record import COLUMNS, FLAGS, Status, VmRecord
from blockhost.vm_db.schema import migrate

Clock = Callable[[], datetime.datetime]

BUSY_S = 30.0


def utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class VMDatabase:
    """The contract's database API. Safe to share between threads; processes share the file."""

    def __init__(self, path: Path | str, pools: Pools | None = None, *, clock: Clock = utc_now) -> None:
        self.pools = pools or Pools()
        self._clock = clock
        self._guard = threading.RLock()
        try:
            if path != ":memory:":
                # 0640, whatever the umask: who owns which machine is not for everybody to read.
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
            self._connection = sqlite3.connect(
                path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.OperationalError) as error:
            raise BlockhostError(f"{path}: {error}", hint="Has the setup been completed?") from error
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        with self._transaction() as database:
            migrate(database)

    def close(self) -> None:
        self._connection.close()

    # --- machines ---------------------------------------------------------------------------

    def register_vm(  # noqa: PLR0917  the contract's signature
        self,
        name: str,
        vmid: int,
        ip: str | None,
        ipv6: str | None = None,
        owner: str = "",
        expiry_days: int = 30,
        purpose: str = "",
        wallet_address: str | None = None,
        *,
        status: Status = Status.ACTIVE,
        node_id: str = "local",
    ) -> VmRecord:
        """Record a machine. The name of a destroyed one may be used again.

        Raises:
            BlockhostError: a machine of that name exists.
        """
        now = self._clock()
        with self._transaction() as database:
            before = _one(database, name)
            if before is not None and before["status"] != Status.DESTROYED:
                raise BlockhostError(f"a VM named {name} exists already")
            database.execute("DELETE FROM vms WHERE vm_name = ?", (name,))
            record: VmRecord = {
                "vm_name": name,
                "vmid": vmid,
                "ip_address": ip,
                "ipv6_address": ipv6,
                "status": status.value,
                "owner": owner,
                "wallet_address": wallet_address,
                "purpose": purpose,
                "created_at": _text(now),
                "expires_at": _text(now + datetime.timedelta(days=expiry_days)),
                "suspended_at": None,
                "destroyed_at": None,
                "nft_token_id": None,
                "nft_minted": False,
                "nft_minted_at": None,
                "gecos_synced": False,
                "node_id": node_id,
            }
            marks = ", ".join("?" * len(COLUMNS))
            database.execute(
                f"INSERT INTO vms ({', '.join(COLUMNS)}) VALUES ({marks})",  # noqa: S608  our own names
                tuple(record[column] for column in COLUMNS),  # type: ignore[literal-required]
            )
            for address in (ip, ipv6):
                if address is not None:
                    database.execute(
                        "INSERT OR IGNORE INTO addresses (address, family) VALUES (?, ?)",
                        (address, ipaddress.ip_address(address).version),
                    )
            return record

    def reserve_vm(
        self,
        name: str,
        *,
        owner: str = "",
        expiry_days: int = 30,
        purpose: str = "",
        wallet_address: str | None = None,
    ) -> VmRecord:
        """Record a machine that is about to be made, with an id and addresses, all in one transaction.

        `mark_active` completes it, `forget_vm` takes everything back.
        """
        with self._transaction():
            return self.register_vm(
                name,
                self.allocate_vmid(),
                self.allocate_ip(),
                self.allocate_ipv6(),
                owner,
                expiry_days,
                purpose,
                wallet_address,
                status=Status.CREATING,
            )

    def get_vm(self, name: str) -> VmRecord | None:
        """The record of a machine, destroyed ones included."""
        with self._guard:
            return _one(self._connection, name)

    def list_vms(self, status: str | None = None) -> list[VmRecord]:
        """All machines by name, or those with one status."""
        query, values = "SELECT * FROM vms ORDER BY vm_name", ()
        if status is not None:
            query, values = "SELECT * FROM vms WHERE status = ? ORDER BY vm_name", (str(status),)  # type: ignore[assignment]
        with self._guard:
            return [_record(row) for row in self._connection.execute(query, values)]

    def extend_expiry(self, name: str, days: int) -> VmRecord:
        """Let a machine live longer: from its expiry, or from now when that has passed."""
        with self._transaction() as database:
            record = _existing(database, name)
            now = self._clock()
            expires = _time(record["expires_at"]) or now
            return _set(database, name, expires_at=_text(max(expires, now) + datetime.timedelta(days=days)))

    def mark_suspended(self, name: str) -> VmRecord:
        """Suspended: the grace clock starts, unless it runs already."""
        with self._transaction() as database:
            since = _existing(database, name)["suspended_at"] or _text(self._clock())
            return _set(database, name, status=Status.SUSPENDED.value, suspended_at=since)

    def mark_active(self, name: str) -> VmRecord:
        with self._transaction() as database:
            _existing(database, name)
            return _set(database, name, status=Status.ACTIVE.value, suspended_at=None)

    def mark_destroyed(self, name: str) -> VmRecord:
        """Destroyed: its addresses are free at once."""
        with self._transaction() as database:
            record = _existing(database, name)
            for address in (record["ip_address"], record["ipv6_address"]):
                database.execute("DELETE FROM addresses WHERE address = ?", (address,))
            if record["status"] == Status.DESTROYED:
                return record
            return _set(database, name, status=Status.DESTROYED.value, destroyed_at=_text(self._clock()))

    def forget_vm(self, name: str) -> None:
        """Remove the record of a machine that never came to be, and free its addresses."""
        with self._transaction() as database:
            record = _one(database, name)
            if record is not None:
                for address in (record["ip_address"], record["ipv6_address"]):
                    database.execute("DELETE FROM addresses WHERE address = ?", (address,))
                database.execute("DELETE FROM vms WHERE vm_name = ?", (name,))

    def get_expired_vms(self) -> list[VmRecord]:
        """Machines past their expiry that are not destroyed."""
        now = _text(self._clock())
        return [
            record
            for record in self.list_vms()
            if record["status"] in (Status.ACTIVE, Status.SUSPENDED) and (record["expires_at"] or now) < now
        ]

    def get_vms_to_suspend(self) -> list[VmRecord]:
        return [record for record in self.get_expired_vms() if record["status"] == Status.ACTIVE]

    def get_vms_to_destroy(self, grace_days: int | None = None) -> list[VmRecord]:
        """Machines that have been suspended for longer than the grace days."""
        days = self.pools.grace_days if grace_days is None else grace_days
        limit = self._clock() - datetime.timedelta(days=days)
        return [
            record
            for record in self.list_vms(Status.SUSPENDED)
            if (since := _time(record["suspended_at"])) is not None and since <= limit
        ]

    # --- addresses and ids ------------------------------------------------------------------

    def allocate_ip(self) -> str:
        """A free IPv4 address, reserved.

        Raises:
            PoolExhausted: there is none.
        """
        return self._allocate(self.pools.ipv4, 4)

    def allocate_ipv6(self) -> str | None:
        """A free IPv6 address, reserved; None on a host without an IPv6 pool."""
        return None if self.pools.ipv6 is None else self._allocate(self.pools.ipv6, 6)

    def release_ip(self, address: str) -> None:
        """Give an address back; a free one is fine."""
        with self._transaction() as database:
            database.execute("DELETE FROM addresses WHERE address = ?", (address,))

    def release_ipv6(self, address: str) -> None:
        """Give an address back; a free one is fine."""
        self.release_ip(address)

    def allocate_vmid(self) -> int:
        """An id that was never handed out before."""
        first, last = self.pools.vmids
        with self._transaction() as database:
            following = max(_counter(database, "next_vmid") or first, first)
            if following > last:
                raise PoolExhausted(f"no VM id left between {first} and {last}")
            _set_counter(database, "next_vmid", following + 1)
            return following

    def _allocate(self, pool: Range | None, family: int) -> str:
        if pool is None:
            raise PoolExhausted("db.yaml has no ip_pool")
        with self._transaction() as database:
            rows = database.execute("SELECT address FROM addresses WHERE family = ?", (family,))
            taken = {row["address"] for row in rows}
            for address in pool:
                if address not in taken:
                    database.execute(
                        "INSERT INTO addresses (address, family) VALUES (?, ?)", (address, family)
                    )
                    return address
        raise PoolExhausted(f"no IPv{family} address left: {pool} are all in use")

    # --- credentials ------------------------------------------------------------------------

    def reserve_nft_token_id(self, name: str, token_id: int | None = None) -> int:
        """The credential that belongs to a machine: given by the chain, or the next free number."""
        with self._transaction() as database:
            record = _existing(database, name)
            if token_id is None:
                token_id = record["nft_token_id"]
            if token_id is None:
                token_id = _counter(database, "next_nft_token_id") or 0
                _set_counter(database, "next_nft_token_id", token_id + 1)
            _set(database, name, nft_token_id=token_id)
            return token_id

    def mark_nft_minted(self, name: str, token_id: int | None = None) -> VmRecord:
        with self._transaction() as database:
            record = _existing(database, name)
            known = record["nft_token_id"] if token_id is None else token_id
            return _set(database, name, nft_token_id=known, nft_minted=1, nft_minted_at=_text(self._clock()))

    def mark_nft_failed(self, name: str) -> VmRecord:
        """The credential was not made: the number is free for this machine's next try."""
        with self._transaction() as database:
            _existing(database, name)
            return _set(database, name, nft_minted=0, nft_minted_at=None)

    def set_gecos_synced(self, name: str, *, is_synced: bool) -> VmRecord:
        with self._transaction() as database:
            _existing(database, name)
            return _set(database, name, gecos_synced=int(is_synced))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, and alone: a write lock from the first statement on. Inner ones join in."""
        with self._guard:
            if self._connection.in_transaction:
                yield self._connection
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")


class MockVMDatabase(VMDatabase):
    """The same database in memory, with pools of its own: for trying commands out."""

    def __init__(self, *, clock: Clock = utc_now) -> None:
        pools = Pools.parse(
            {
                "ip_pool": {
                    "network": "192.0.2.0/24",
                    "start": "192.0.2.10",
                    "end": "192.0.2.250",
                    "gateway": "192.0.2.1",
                },
                "ipv6_pool": {"start": "2001:db8::10", "end": "2001:db8::ffff"},
            },
            source="mock",
        )
        super().__init__(":memory:", pools, clock=clock)


def _text(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).isoformat(timespec="seconds")


def _time(text: str | None) -> datetime.datetime | None:
    return None if text is None else datetime.datetime.fromisoformat(text)


def _record(row: sqlite3.Row) -> VmRecord:
    values: dict[str, Any] = {column: row[column] for column in COLUMNS}
    values.update({flag: bool(values[flag]) for flag in FLAGS})
    return cast(VmRecord, values)


def _one(database: sqlite3.Connection, name: str) -> VmRecord | None:
    row = database.execute("SELECT * FROM vms WHERE vm_name = ?", (name,)).fetchone()
    return None if row is None else _record(row)


def _existing(database: sqlite3.Connection, name: str) -> VmRecord:
    record = _one(database, name)
    if record is None:
        raise BlockhostError(f"no VM named {name}")
    return record


def _set(database: sqlite3.Connection, name: str, **values: Any) -> VmRecord:
    assignments = ", ".join(f"{column} = ?" for column in values)
    database.execute(
        f"UPDATE vms SET {assignments} WHERE vm_name = ?",  # noqa: S608  our own column names
        (*values.values(), name),
    )
    return _existing(database, name)


def _counter(database: sqlite3.Connection, name: str) -> int | None:
    row = database.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()
    return None if row is None else int(row["value"])


def _set_counter(database: sqlite3.Connection, name: str, value: int) -> None:
    database.execute("INSERT OR REPLACE INTO counters (name, value) VALUES (?, ?)", (name, value))
