"""The embedded store: SQLite in WAL mode with synchronous FULL, one transaction a call.

What `allocate_*` returns is reserved at once and durably, so two processes never get the same.
"""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

from blockhost import wall_clock
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.sqlite_file import SqliteFile
from blockhost.vm_db import addresses
from blockhost.vm_db.pools import PoolExhausted, Pools
from blockhost.vm_db.record import CHANGEABLE, COLUMNS, FLAGS, Status, VmRecord, as_moment, as_text
from blockhost.vm_db.schema import SCHEMA


class VMDatabase:
    """The contract's database API. Safe to share between threads; processes share the file."""

    def __init__(
        self,
        path: Path | str,
        pools: Pools | None = None,
        *,
        clock: wall_clock.Clock = wall_clock.utc_now,
        create: bool = True,
    ) -> None:
        """Open it; with `create`, an empty one is made where there is none.

        Raises:
            BlockhostError: it is missing, or may not be opened.
            DamagedFile: it is not a VM database, or cannot be read.
        """
        self.pools = pools or Pools()
        self._clock = clock
        self._file = SqliteFile(None if path == ":memory:" else Path(path), SCHEMA, create=create)

    def close(self) -> None:
        self._file.close()

    def complaints(self) -> list[str]:
        """What is wrong with the file, as far as SQLite can tell; nothing when it is sound."""
        return self._file.complaints()

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """Several calls as one: all or nothing, and nobody else writes in between."""
        return self._file.transaction()

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
            BlockhostError: a machine of that name exists, or the id or an address is another one's.
        """
        now = self._clock()
        record: VmRecord = {
            "vm_name": name,
            "vmid": vmid,
            "ip_address": None if ip is None else addresses.canonical(ip),
            "ipv6_address": None if ipv6 is None else addresses.canonical(ipv6),
            "status": Status(status).value,
            "owner": owner,
            "wallet_address": wallet_address,
            "purpose": purpose,
            "created_at": as_text(now),
            "expires_at": as_text(now + datetime.timedelta(days=expiry_days)),
            "suspended_at": None,
            "destroyed_at": None,
            "nft_token_id": None,
            "nft_minted": False,
            "nft_minted_at": None,
            "gecos_synced": False,
            "node_id": node_id,
        }
        with self.transaction() as database:
            before = _one(database, name)
            if before is not None and before["status"] != Status.DESTROYED:
                raise BlockhostError(_("a VM named %(name)s exists already") % {"name": name})
            database.execute("DELETE FROM vms WHERE vm_name = ?", (name,))
            insert(database, record)
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
        with self.transaction():
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
        row = self._file.one("SELECT * FROM vms WHERE vm_name = ?", (name,))
        return None if row is None else _record(row)

    def list_vms(self, status: str | None = None) -> list[VmRecord]:
        """All machines by name, or those with one status."""
        if status is None:
            return self._select("1 ORDER BY vm_name")
        return self._select("status = ? ORDER BY vm_name", str(status))

    def extend_expiry(self, name: str, days: int) -> VmRecord:
        """Let a machine live longer: from its expiry, or from now when that has passed."""
        with self.transaction() as database:
            record = _existing(database, name)
            now = self._clock()
            expires = as_moment(record["expires_at"]) or now
            return _set(database, name, expires_at=as_text(max(expires, now) + datetime.timedelta(days=days)))

    def set_expiry(self, name: str, moment: datetime.datetime) -> VmRecord:
        """Let a machine live until `moment`, whatever was before: safe to repeat."""
        return self.update_fields(name, {"expires_at": as_text(moment)})

    def update_fields(self, name: str, fields: Mapping[str, object]) -> VmRecord:
        """Correct some fields of a record; all of them or none.

        Raises:
            BlockhostError: no such machine, or a field or value that cannot be set this way.
        """
        values = {key: _checked_field(key, value) for key, value in fields.items()}
        with self.transaction() as database:
            record = _existing(database, name)
            return _set(database, name, **values) if values else record

    def mark_suspended(self, name: str) -> VmRecord:
        """Suspended: the grace clock starts, unless it runs already."""
        with self.transaction() as database:
            since = _existing(database, name)["suspended_at"] or as_text(self._clock())
            return _set(database, name, status=Status.SUSPENDED.value, suspended_at=since)

    def mark_active(self, name: str) -> VmRecord:
        with self.transaction() as database:
            _existing(database, name)
            return _set(database, name, status=Status.ACTIVE.value, suspended_at=None)

    def mark_destroyed(self, name: str) -> VmRecord:
        """Destroyed: its addresses are free at once."""
        with self.transaction() as database:
            record = _existing(database, name)
            _free_addresses(database, record)
            if record["status"] == Status.DESTROYED:
                return record
            return _set(database, name, status=Status.DESTROYED.value, destroyed_at=as_text(self._clock()))

    def forget_vm(self, name: str) -> None:
        """Remove the record of a machine that never came to be, and free its addresses."""
        with self.transaction() as database:
            record = _one(database, name)
            if record is not None:
                _free_addresses(database, record)
                database.execute("DELETE FROM vms WHERE vm_name = ?", (name,))

    def get_expired_vms(self) -> list[VmRecord]:
        """Machines past their expiry that are not destroyed."""
        return self._select(
            "status IN ('active', 'suspended') AND expires_at < ? ORDER BY vm_name", as_text(self._clock())
        )

    def get_vms_to_suspend(self) -> list[VmRecord]:
        """Machines past their expiry that still run."""
        return self._select("status = 'active' AND expires_at < ? ORDER BY vm_name", as_text(self._clock()))

    def get_vms_to_destroy(self, grace_days: int | None = None) -> list[VmRecord]:
        """Machines that have been suspended for at least the grace days."""
        days = self.pools.grace_days if grace_days is None else grace_days
        limit = self._clock() - datetime.timedelta(days=days)
        return self._select("status = 'suspended' AND suspended_at <= ? ORDER BY vm_name", as_text(limit))

    def newest_moment(self) -> datetime.datetime | None:
        """The latest time at which something is on record to have happened."""
        row = self._file.one(
            "SELECT max(max(created_at, ifnull(suspended_at, ''), ifnull(destroyed_at, ''))) AS at FROM vms"
        )
        return as_moment(row["at"]) if row is not None and row["at"] else None

    # --- addresses and ids ------------------------------------------------------------------

    def allocate_ip(self) -> str:
        """The lowest free IPv4 address, reserved.

        Raises:
            PoolExhausted: there is none.
        """
        if self.pools.ipv4 is None:
            raise PoolExhausted(_("db.yaml has no ip_pool"))
        with self.transaction() as database:
            return addresses.allocate(database, self.pools.ipv4)

    def allocate_ipv6(self) -> str | None:
        """The lowest free IPv6 address, reserved; None on a host without an IPv6 pool."""
        if self.pools.ipv6 is None:
            return None
        with self.transaction() as database:
            return addresses.allocate(database, self.pools.ipv6)

    def release_ip(self, address: str) -> None:
        """Give an address back; a free one is fine."""
        with self.transaction() as database:
            addresses.release(database, addresses.canonical(address))

    def release_ipv6(self, address: str) -> None:
        """Give an address back; a free one is fine."""
        self.release_ip(address)

    def addresses_in_use(self) -> list[str]:
        """Every address that is not free, with a machine or without."""
        rows = self._file.rows("SELECT address FROM addresses ORDER BY family, address")
        return [str(row["address"]) for row in rows]

    def allocate_vmid(self) -> int:
        """An id that was never handed out before.

        Raises:
            PoolExhausted: there is none.
        """
        first, last = self.pools.vmids
        with self.transaction() as database:
            following = max(_counter(database, "next_vmid") or first, first)
            while database.execute("SELECT 1 FROM vms WHERE vmid = ?", (following,)).fetchone():
                following += 1  # somebody registered that one by hand
            if following > last:
                raise PoolExhausted(
                    _("no VM id left between %(first)s and %(last)s") % {"first": first, "last": last}
                )
            set_counter(database, "next_vmid", following + 1)
            return following

    # --- credentials ------------------------------------------------------------------------

    def reserve_nft_token_id(self, name: str, token_id: int | None = None) -> int:
        """The credential that belongs to a machine: given by the chain, or the next free number."""
        with self.transaction() as database:
            record = _existing(database, name)
            if token_id is None:
                token_id = record["nft_token_id"]
            if token_id is None:
                token_id = _counter(database, "next_nft_token_id") or 0
                set_counter(database, "next_nft_token_id", token_id + 1)
            _set(database, name, nft_token_id=token_id)
            return token_id

    def mark_nft_minted(self, name: str, token_id: int | None = None) -> VmRecord:
        with self.transaction() as database:
            record = _existing(database, name)
            known = record["nft_token_id"] if token_id is None else token_id
            return _set(
                database, name, nft_token_id=known, nft_minted=1, nft_minted_at=as_text(self._clock())
            )

    def mark_nft_failed(self, name: str) -> VmRecord:
        """The credential was not made: the number is free for this machine's next try."""
        with self.transaction() as database:
            _existing(database, name)
            return _set(database, name, nft_minted=0, nft_minted_at=None)

    def set_gecos_synced(self, name: str, *, is_synced: bool) -> VmRecord:
        with self.transaction() as database:
            _existing(database, name)
            return _set(database, name, gecos_synced=int(is_synced))

    def _select(self, condition: str, *values: object) -> list[VmRecord]:
        query = f"SELECT * FROM vms WHERE {condition}"  # noqa: S608  our own conditions
        return [_record(row) for row in self._file.rows(query, values)]


class MockVMDatabase(VMDatabase):
    """The same database in memory, with pools of its own: for trying commands out."""

    def __init__(self, *, clock: wall_clock.Clock = wall_clock.utc_now) -> None:
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


def insert(database: sqlite3.Connection, record: VmRecord) -> None:
    """Add a record whose name is free, and hold its addresses; call it inside a transaction.

    Raises:
        BlockhostError: the id or an address is another machine's.
    """
    name, vmid = record["vm_name"], record["vmid"]
    if record["status"] != Status.DESTROYED:
        query = "SELECT vm_name FROM vms WHERE vmid = ? AND status != 'destroyed'"
        other = database.execute(query, (vmid,)).fetchone()
        if other is not None:
            raise BlockhostError(
                _("the id %(vmid)s belongs to the VM %(vm_name)s")
                % {"vmid": vmid, "vm_name": other["vm_name"]}
            )
        for address in (record["ip_address"], record["ipv6_address"]):
            if address is not None:
                addresses.hold(database, address, name)
    marks = ", ".join("?" * len(COLUMNS))
    database.execute(
        f"INSERT INTO vms ({', '.join(COLUMNS)}) VALUES ({marks})",  # noqa: S608  our own names
        tuple(record[column] for column in COLUMNS),  # type: ignore[literal-required]
    )


def _free_addresses(database: sqlite3.Connection, record: VmRecord) -> None:
    for address in (record["ip_address"], record["ipv6_address"]):
        if address is not None:
            addresses.release(database, address, record["vm_name"])


def _checked_field(key: str, value: object) -> object:
    if key not in CHANGEABLE:
        known = ", ".join(CHANGEABLE)
        raise BlockhostError(
            _("the field %(key)r cannot be set") % {"key": key},
            hint=_("These can: %(known)s") % {"known": known},
        )
    kinds = CHANGEABLE[key]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
        raise BlockhostError(
            _("the field %(key)r: expected %(names)s, got %(value)r")
            % {"key": key, "names": names, "value": value}
        )
    if key == "expires_at" and isinstance(value, str):
        try:
            return as_text(cast(datetime.datetime, as_moment(value)))
        except ValueError:
            raise BlockhostError(
                _("the field %(key)r: expected a time like 2027-01-31T14:05:00+00:00") % {"key": key}
            ) from None
    return value


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
        raise BlockhostError(_("no VM named %(name)s") % {"name": name})
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


def set_counter(database: sqlite3.Connection, name: str, value: int) -> None:
    database.execute("INSERT OR REPLACE INTO counters (name, value) VALUES (?, ?)", (name, value))
