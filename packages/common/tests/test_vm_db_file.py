"""The database's file: durable, private, migrated from version 1, and refused when it is not ours."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockhost.errors import BlockhostError, DamagedFile
from blockhost.sqlite_file import SqliteFile
from blockhost.vm_db import VMDatabase
from blockhost.vm_db.schema import MIGRATIONS, SCHEMA

COMMON = Path(__file__).parents[1]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "vms.db"


@contextlib.contextmanager
def raw(file: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        yield connection
        connection.commit()


def made(file: Path, count: int = 3) -> None:
    """A database with machines, all of it in its one file."""
    database = VMDatabase(file)
    for number in range(count):
        database.register_vm(f"vm-{number}", 100 + number, f"10.0.0.{number + 2}", owner="o" * 200)
    database.close()
    with raw(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def test_file_is_durable_and_private(file: Path) -> None:
    database = VMDatabase(file)
    database.register_vm("a", 100, None)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
    assert modes == dict.fromkeys(("vms.db", "vms.db-wal", "vms.db-shm"), 0o640)
    assert (database._file.pragma("synchronous"), database._file.pragma("journal_mode")) == (2, "wal")
    assert database._file.pragma("application_id") == SCHEMA.application_id
    database.close()


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_mode_does_not_depend_on_the_umask(file: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        VMDatabase(file).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


# --- migrations ----------------------------------------------------------------------------------


def at_version(file: Path, version: int) -> None:
    """A file as the release with that many migrations left it, with a machine and an address."""
    with raw(file) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for statements in MIGRATIONS[:version]:
            for statement in statements:
                connection.execute(statement)
        values = ("a", 100, "10.0.0.2", "active", "o", "", "2026-01-01T00:00:00+00:00", 0, 0, "local")
        connection.execute(
            "INSERT INTO vms (vm_name, vmid, ip_address, status, owner, purpose, created_at, nft_minted,"
            " gecos_synced, node_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )
        for address in ("10.0.0.2", "10.0.0.3"):
            connection.execute("INSERT INTO addresses (address, family) VALUES (?, 4)", (address,))
        connection.execute("INSERT INTO counters VALUES ('next_vmid', 107)")
        connection.execute(f"PRAGMA user_version = {version}")


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_older_file_is_migrated_with_what_is_in_it(file: Path, version: int) -> None:
    at_version(file, version)
    database = VMDatabase(file)
    record = database.get_vm("a")
    assert record is not None
    assert (record["vmid"], record["ip_address"], database.allocate_vmid()) == (100, "10.0.0.2", 107)
    with pytest.raises(BlockhostError, match="belongs to the VM a"):
        database.register_vm("b", 101, "10.0.0.2")
    database.register_vm("b", 101, "10.0.0.3")  # was allocated to nobody in particular
    assert database._file.pragma("user_version") == len(MIGRATIONS)
    assert database.complaints() == []
    database.close()


def test_failed_migration_leaves_the_version_before(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_version(file, 1)
    broken = (*MIGRATIONS, ("CREATE TABLE extra (id INTEGER)", "CREATE TABLE nonsense ("))
    schema = type(SCHEMA)(SCHEMA.name, SCHEMA.application_id, broken, SCHEMA.first_table)
    with pytest.raises(BlockhostError):
        SqliteFile(file, schema)
    with raw(file) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == 1
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
    assert not names & {"extra", "released"}


def test_two_processes_migrate_once(file: Path) -> None:
    at_version(file, 1)
    code = (
        "import sys; from pathlib import Path; from blockhost.vm_db import VMDatabase;"
        "VMDatabase(Path(sys.argv[1])).close()"
    )
    argv = [sys.executable, "-c", code, str(file)]
    running = [subprocess.Popen(argv, env={"PYTHONPATH": str(COMMON)}) for _ in range(6)]
    assert [process.wait(60) for process in running] == [0] * 6


# --- what is not a database of ours --------------------------------------------------------------


def test_newer_schema_is_refused(file: Path) -> None:
    made(file)
    with raw(file) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(DamagedFile, match="newer than this program"):
        VMDatabase(file)


@pytest.mark.parametrize("identity", [0, 7])
def test_another_programs_database_is_refused(file: Path, identity: int) -> None:
    with raw(file) as connection:
        connection.execute(f"PRAGMA application_id = {identity}")
        connection.execute("CREATE TABLE things (id INTEGER)")
    before = file.read_bytes()
    with pytest.raises(DamagedFile, match="another program") as refusal:
        VMDatabase(file)
    assert "restore the VM database from a backup" in refusal.value.hint
    assert file.read_bytes() == before


def test_garbage_is_not_overwritten(file: Path) -> None:
    file.write_text("these are somebody's notes, not a database\n" * 100)
    with pytest.raises(DamagedFile, match="not a database"):
        VMDatabase(file)
    assert file.read_text().startswith("these are")


@pytest.mark.parametrize("size", [1, 15, 100, 511])
def test_stump_is_not_filled(file: Path, size: int) -> None:
    made(file)
    os.truncate(file, size)
    with pytest.raises(DamagedFile, match="cut short"):
        VMDatabase(file)


def used(file: Path) -> None:
    """Open it and use every table; damage must show as DamagedFile, whenever it is met."""
    database = VMDatabase(file, create=False)
    try:
        if complaints := database.complaints():
            raise DamagedFile(file, complaints[0], remedy="restore")
        database.list_vms()
    finally:
        database.close()


@pytest.mark.parametrize("size", [512, 1000, 4095, 4096, 8192, 20000])
def test_truncated_file_is_reported(file: Path, size: int) -> None:
    made(file, 200)
    os.truncate(file, size)
    with pytest.raises(DamagedFile):
        used(file)


def test_flipped_bits_never_raise_anything_else(file: Path) -> None:
    """200 single bits: each is refused, or was in a place without meaning or inside a value."""
    made(file, 200)
    content = file.read_bytes()
    chance = random.Random(1)
    refused = 0
    for _ in range(200):
        position = chance.randrange(len(content)) if chance.random() < 0.7 else chance.randrange(200)
        damaged = bytearray(content)
        damaged[position] ^= 1 << chance.randrange(8)
        file.write_bytes(damaged)
        for other in (f"{file}-wal", f"{file}-shm"):
            Path(other).unlink(missing_ok=True)
        try:
            used(file)
        except BlockhostError:
            refused += 1
    assert refused > 20


def test_missing_file_is_only_made_when_asked(file: Path) -> None:
    with pytest.raises(BlockhostError, match="no VM database yet"):
        VMDatabase(file, create=False)
    file.touch()  # what a kill between the file and its first migration leaves
    with pytest.raises(BlockhostError, match="no VM database yet"):
        VMDatabase(file, create=False)
    VMDatabase(file).close()
    VMDatabase(file, create=False).close()


def test_missing_folder_is_explained(tmp_path: Path) -> None:
    with pytest.raises(BlockhostError, match="No such file") as refusal:
        VMDatabase(tmp_path / "none/vms.db")
    assert "setup" in refusal.value.hint


def test_full_disk_is_told_and_changes_nothing(file: Path) -> None:
    database = VMDatabase(file)
    database.register_vm("a", 100, None)
    pages = database._file.pragma("page_count")
    database._file.one(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(BlockhostError, match="disk is full"):
        [database.register_vm(f"b{number}", 101 + number, None, owner="x" * 3000) for number in range(1000)]
    names = {record["vm_name"] for record in database.list_vms()}
    database._file.one("PRAGMA max_page_count = 1000000")
    database.register_vm("c", 99, None)
    assert {record["vm_name"] for record in database.list_vms()} == {*names, "c"}
    database.close()
