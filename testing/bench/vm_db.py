"""A machine's id and addresses allocated and its record written, against a bare SQLite insert.

Peer: one row of the same size into one table, in a transaction, with the same durability (write-ahead
log, synchronous FULL), same directory, same run. Both are measured in turns of a few, so that what
else the disk does meets both alike. Flat: with 10,000 machines against 100.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from blockhost.vm_db import Pools, VMDatabase
from testing.bench.ratio import Ratio

FEW, MANY = 100, 10_000
ROUNDS, TURN = 120, 10
POOLS = Pools.parse(
    {
        "ip_pool": {
            "network": "10.0.0.0/14",
            "start": "10.0.0.10",
            "end": "10.3.255.0",
            "gateway": "10.0.0.1",
        },
        "ipv6_pool": {"start": "2001:db8::10", "end": "2001:db8::ffff:ffff"},
    },
    source="bench",
)
OWNER = "SHA256:" + "a" * 43


def filled(directory: Path, count: int) -> VMDatabase:
    """A database with that many machines, every tenth destroyed."""
    database = VMDatabase(directory / f"vms-{count}.db", POOLS)
    with database.transaction():
        for number in range(count):
            database.reserve_vm(f"blockhost-{number:03d}", owner=OWNER, wallet_address=OWNER)
            if number % 10 == 0:
                database.mark_destroyed(f"blockhost-{number:03d}")
    return database


def bare(directory: Path) -> Callable[[int], None]:
    """One insert of a row as long as a record."""
    connection = sqlite3.connect(directory / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE vms (name TEXT PRIMARY KEY, record TEXT)")

    def insert(number: int) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO vms VALUES (?, ?)", (f"new-{number}", "x" * 300))
        connection.execute("COMMIT")

    return insert


def in_turns(works: list[Callable[[int], None]]) -> list[list[float]]:
    """Seconds of each call, for each work."""
    taken: list[list[float]] = [[] for _ in works]
    for turn in range(ROUNDS):
        for work, times in zip(works, taken, strict=True):
            for number in range(turn * TURN, (turn + 1) * TURN):
                started = time.perf_counter()
                work(number)
                times.append(time.perf_counter() - started)
    return taken


def p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]


def median(times: list[float]) -> float:
    return sorted(times)[len(times) // 2]


def measure() -> list[Ratio]:
    build = Path(__file__).parents[2] / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build) as folder:
        databases = [filled(Path(folder), count) for count in (MANY, FEW)]

        def reserve(database: VMDatabase) -> Callable[[int], None]:
            return lambda number: void(
                database.reserve_vm(f"new-{number}", owner=OWNER, wallet_address=OWNER)
            )

        many, few, insert = in_turns([*(reserve(database) for database in databases), bare(Path(folder))])
        for database in databases:
            database.close()
    return [
        Ratio(f"vm_db: p99 at {MANY:,} machines / bare durable insert", p99(many), p99(insert), 3.0, "s"),
        Ratio(
            f"vm_db: median at {MANY:,} machines / bare durable insert",
            median(many),
            median(insert),
            None,
            "s",
        ),
        Ratio(f"vm_db: median at {MANY:,} machines / at {FEW}", median(many), median(few), 1.25, "s"),
        Ratio(f"vm_db: p99 at {MANY:,} machines / at {FEW}", p99(many), p99(few), None, "s"),
    ]


def void(_result: object) -> None:
    """Nothing: what was measured has happened."""
