"""Handing out addresses: always the lowest free one of a pool, in one look however many are in use.

Everything of a pool below its `next` is either in use or in `released`; from `next` on everything
is free but what somebody registered by hand. So the lowest free address is the lowest released one,
or else the first one from `next` on that is not in use. A pool that changed starts over once.
"""

from __future__ import annotations

import ipaddress
import sqlite3

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.vm_db.pools import PoolExhausted, Range


def allocate(database: sqlite3.Connection, pool: Range) -> str:
    """The lowest free address, in use from now on; call it inside a transaction.

    Raises:
        PoolExhausted: there is none.
    """
    following = _next(database, pool)
    number = _from_released(database, pool)
    if number is None:
        number = following
        while number <= pool.last and not _is_free(database, pool, number):
            number += 1
        if number > pool.last:
            raise PoolExhausted(
                _("no IPv%(family)s address left: %(pool)s are all in use")
                % {"family": pool.family, "pool": pool}
            )
        database.execute("UPDATE pools SET next = ? WHERE family = ?", (_key(number + 1), pool.family))
    address = pool.text(number)
    database.execute("INSERT INTO addresses (address, family) VALUES (?, ?)", (address, pool.family))
    return address


def hold(database: sqlite3.Connection, address: str, vm_name: str) -> None:
    """Note that a machine has this (canonical) address, allocated before or not.

    Raises:
        BlockhostError: it is another machine's.
    """
    row = database.execute("SELECT vm_name FROM addresses WHERE address = ?", (address,)).fetchone()
    if row is not None and row["vm_name"] not in (None, vm_name):
        raise BlockhostError(
            _("%(address)s belongs to the VM %(vm_name)s") % {"address": address, "vm_name": row["vm_name"]}
        )
    family, key = _parts(address)
    database.execute("DELETE FROM released WHERE family = ? AND number = ?", (family, key))
    database.execute(
        "INSERT OR REPLACE INTO addresses (address, family, vm_name) VALUES (?, ?, ?)",
        (address, family, vm_name),
    )


def release(database: sqlite3.Connection, address: str, vm_name: str | None = None) -> None:
    """Free an address, or only if `vm_name` still holds it; a free one is fine."""
    query, values = "DELETE FROM addresses WHERE address = ?", [address]
    if vm_name is not None:
        query, values = f"{query} AND vm_name = ?", [address, vm_name]
    if database.execute(query, values).rowcount:
        family, key = _parts(address)
        database.execute(
            "INSERT OR IGNORE INTO released (family, number)"
            " SELECT family, ? FROM pools WHERE family = ? AND next > ?",
            (key, family, key),
        )


def canonical(address: str) -> str:
    """The one spelling of an address.

    Raises:
        BlockhostError: it is none.
    """
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        raise BlockhostError(_("%(address)r is not an address") % {"address": address}) from None


def _next(database: sqlite3.Connection, pool: Range) -> int:
    """Where the untouched part of the pool begins; a pool that is not the one before starts over."""
    row = database.execute("SELECT identity, next FROM pools WHERE family = ?", (pool.family,)).fetchone()
    if row is not None and row["identity"] == pool.identity:
        return int(row["next"], 16)
    database.execute("DELETE FROM released WHERE family = ?", (pool.family,))
    database.execute(
        "INSERT OR REPLACE INTO pools (family, identity, next) VALUES (?, ?, ?)",
        (pool.family, pool.identity, _key(pool.first)),
    )
    return pool.first


def _from_released(database: sqlite3.Connection, pool: Range) -> int | None:
    query = "SELECT number FROM released WHERE family = ? ORDER BY number LIMIT 1"
    while (row := database.execute(query, (pool.family,)).fetchone()) is not None:
        database.execute("DELETE FROM released WHERE family = ? AND number = ?", (pool.family, row["number"]))
        number = int(row["number"], 16)
        # What was registered by hand from outside the pool is no gift to it.
        if pool.first <= number <= pool.last and _is_free(database, pool, number):
            return number
    return None


def _is_free(database: sqlite3.Connection, pool: Range, number: int) -> bool:
    if number in pool.reserved:
        return False
    query = "SELECT 1 FROM addresses WHERE address = ?"
    return database.execute(query, (pool.text(number),)).fetchone() is None


def _parts(address: str) -> tuple[int, str]:
    parsed = ipaddress.ip_address(address)
    return parsed.version, _key(int(parsed))


def _key(number: int) -> str:
    return f"{number:032x}"
