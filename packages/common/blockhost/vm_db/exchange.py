"""The whole database as one JSON document, and back: for backups and for moving to another host."""

from __future__ import annotations

import sqlite3
from typing import Any

from blockhost.errors import BlockhostError, FieldError
from blockhost.fields import Fields
from blockhost.i18n import gettext as _
from blockhost.vm_db import addresses
from blockhost.vm_db.record import Status, VmRecord, as_moment, as_text
from blockhost.vm_db.store import VMDatabase, insert, set_counter

MAX_BYTES = 256 * 1024 * 1024


def export_database(database: VMDatabase) -> dict[str, Any]:
    """`{vms{name: record}, next_vmid, allocated_ips[], allocated_ipv6[]}`, from one moment."""
    with database.transaction() as connection:
        counter = connection.execute("SELECT value FROM counters WHERE name = 'next_vmid'").fetchone()
        return {
            "vms": {record["vm_name"]: record for record in database.list_vms()},
            "next_vmid": database.pools.vmids[0] if counter is None else counter["value"],
            "allocated_ips": _allocated(connection, 4),
            "allocated_ipv6": _allocated(connection, 6),
        }


def import_database(database: VMDatabase, document: object, *, source: str, replace: bool = False) -> int:
    """Read an exported document into an empty database, or instead of what is there; all or nothing.

    Returns how many machines there are now.

    Raises:
        FieldError: the document is not such an export; names the place.
        BlockhostError: the database holds machines and `replace` is not given, or two machines of
            the document share an id or address.
    """
    root = Fields(document, source=source)
    records = [_record(root.child("vms").child(name), name) for name in root.child("vms").keys()]  # noqa: SIM118
    next_vmid = root.optional("next_vmid", int, 0)
    loose = [*root.strings("allocated_ips", ()), *root.strings("allocated_ipv6", ())]
    with database.transaction() as connection:
        if database.list_vms() and not replace:
            raise BlockhostError(
                _("the database holds machines already"), hint=_("--replace forgets them; `export` first.")
            )
        for table in ("vms", "addresses", "released", "pools", "counters"):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608  our own names
        for record in records:
            insert(connection, record)
        for address in loose:
            _note(connection, addresses.canonical(address))
        if next_vmid:
            set_counter(connection, "next_vmid", next_vmid)
        tokens = [record["nft_token_id"] for record in records if record["nft_token_id"] is not None]
        if tokens:
            set_counter(connection, "next_nft_token_id", max(tokens) + 1)
    return len(records)


def _allocated(connection: sqlite3.Connection, family: int) -> list[str]:
    query = "SELECT address FROM addresses WHERE family = ? ORDER BY address"
    return [row["address"] for row in connection.execute(query, (family,))]


def _note(connection: sqlite3.Connection, address: str) -> None:
    """An address that is in use without a machine, as far as the document knows."""
    family = 6 if ":" in address else 4
    connection.execute("INSERT OR IGNORE INTO addresses (address, family) VALUES (?, ?)", (address, family))


def _record(fields: Fields, name: str) -> VmRecord:
    if fields.optional("vm_name", str, name) != name:
        fields.fail("vm_name", _("expected %(name)s") % {"name": name})
    return {
        "vm_name": name,
        "vmid": fields.take("vmid", int),
        "ip_address": _address(fields, "ip_address"),
        "ipv6_address": _address(fields, "ipv6_address"),
        "status": Status(fields.choice("status", [status.value for status in Status])).value,
        "owner": fields.optional("owner", str, ""),
        "wallet_address": fields.optional("wallet_address", str, "") or None,
        "purpose": fields.optional("purpose", str, ""),
        "created_at": _time(fields, "created_at") or fields.fail("created_at", _("missing, expected a time")),
        "expires_at": _time(fields, "expires_at"),
        "suspended_at": _time(fields, "suspended_at"),
        "destroyed_at": _time(fields, "destroyed_at"),
        "nft_token_id": None if (token := fields.optional("nft_token_id", int, -1)) < 0 else token,
        "nft_minted": fields.optional("nft_minted", bool, False),
        "nft_minted_at": _time(fields, "nft_minted_at"),
        "gecos_synced": fields.optional("gecos_synced", bool, False),
        "node_id": fields.optional("node_id", str, "local") or "local",
    }


def _address(fields: Fields, key: str) -> str | None:
    text = fields.optional(key, str, "")
    try:
        return addresses.canonical(text) if text else None
    except BlockhostError as error:
        raise FieldError(fields.source, f"{fields.path}.{key}", str(error)) from None


def _time(fields: Fields, key: str) -> str | None:
    text = fields.optional(key, str, "")
    if not text:
        return None
    try:
        moment = as_moment(text)
    except ValueError:
        fields.fail(key, _("expected a time like 2027-01-31T14:05:00+00:00"))
    assert moment is not None
    return as_text(moment)
