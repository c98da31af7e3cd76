"""The database of machines: one suite for the file and for the one in memory."""

from __future__ import annotations

import datetime
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from blockhost.errors import BlockhostError, ConfigError, DamagedFile
from blockhost.vm_db import MockVMDatabase, PoolExhausted, Pools, VMDatabase, get_database
from blockhost.vm_db.schema import MIGRATIONS

COMMON = Path(__file__).parents[1]
CONFIG = {
    "ip_pool": {"network": "192.0.2.0/24", "start": "192.0.2.0", "end": "192.0.2.6", "gateway": "192.0.2.1",
                "reserved": ["192.0.2.3"]},
    "ipv6_pool": {"start": "2001:db8::10", "end": "2001:db8::ff"},
    "gc_grace_days": 3,
}  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

    def __call__(self) -> datetime.datetime:
        return self.now

    def pass_days(self, days: float) -> None:
        self.now += datetime.timedelta(days=days)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["file", "mock"])
def database(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[VMDatabase]:
    pools = Pools.parse(CONFIG, source="db.yaml")
    if request.param == "file":
        made = VMDatabase(tmp_path / "vms.db", pools, clock=clock)
    else:
        made = MockVMDatabase(clock=clock)
        made.pools = pools
    yield made
    made.close()


def test_pool_gives_each_usable_address_once(database: VMDatabase) -> None:
    given = [database.allocate_ip() for _ in range(4)]
    assert given == ["192.0.2.2", "192.0.2.4", "192.0.2.5", "192.0.2.6"]  # not network, gateway, reserved
    with pytest.raises(PoolExhausted, match=r"192\.0\.2\.0 to 192\.0\.2\.6 are all in use"):
        database.allocate_ip()
    database.release_ip("192.0.2.4")
    database.release_ip("192.0.2.4")
    assert database.allocate_ip() == "192.0.2.4"


def test_ids_are_never_used_twice(database: VMDatabase) -> None:
    first = database.reserve_vm("a")
    database.forget_vm("a")
    assert database.reserve_vm("a")["vmid"] == first["vmid"] + 1


def test_reservation_is_all_or_nothing(database: VMDatabase) -> None:
    for name in "abcd":
        database.reserve_vm(name)
    next_id = database.allocate_vmid()
    with pytest.raises(PoolExhausted):
        database.reserve_vm("e")
    assert database.get_vm("e") is None
    assert database.allocate_vmid() == next_id + 1  # the refused one took no id either


def test_record_has_the_contracts_fields(database: VMDatabase) -> None:
    record = database.register_vm("a", 100, "192.0.2.2", owner="o", wallet_address="w", purpose="p")
    names = "vm_name vmid ip_address ipv6_address status owner wallet_address purpose created_at expires_at"
    names += " suspended_at destroyed_at nft_token_id nft_minted nft_minted_at gecos_synced node_id"
    assert list(record) == names.split()
    assert database.get_vm("a") == record
    assert record["expires_at"] == "2026-01-31T00:00:00+00:00"
    with pytest.raises(BlockhostError, match="exists already"):
        database.register_vm("a", 101, None)


def test_registered_address_is_not_handed_out(database: VMDatabase) -> None:
    database.register_vm("a", 100, "192.0.2.2")
    assert database.allocate_ip() == "192.0.2.4"


def test_life_of_a_machine(database: VMDatabase, clock: Clock) -> None:
    database.register_vm("a", 100, database.allocate_ip(), database.allocate_ipv6(), expiry_days=2)
    clock.pass_days(3)
    assert [vm["vm_name"] for vm in database.get_vms_to_suspend()] == ["a"]
    database.mark_suspended("a")
    clock.pass_days(1)
    suspended = database.mark_suspended("a")  # once more: the grace clock goes on
    assert suspended["suspended_at"] == "2026-01-04T00:00:00+00:00"
    assert database.get_vms_to_suspend() == []
    assert database.get_vms_to_destroy(3) == []
    assert database.get_vms_to_destroy() == []
    clock.pass_days(2)
    assert [vm["vm_name"] for vm in database.get_vms_to_destroy()] == ["a"]
    database.mark_destroyed("a")
    assert database.get_expired_vms() == []
    assert database.allocate_ip() == "192.0.2.2"
    assert database.mark_destroyed("a")["destroyed_at"] == "2026-01-07T00:00:00+00:00"
    assert database.register_vm("a", 101, None)["status"] == "active"


def test_extension_starts_at_the_later_of_expiry_and_now(database: VMDatabase, clock: Clock) -> None:
    database.register_vm("a", 100, None, expiry_days=10)
    assert database.extend_expiry("a", 5)["expires_at"] == "2026-01-16T00:00:00+00:00"
    clock.pass_days(100)
    assert database.extend_expiry("a", 5)["expires_at"] == "2026-04-16T00:00:00+00:00"


def test_credentials(database: VMDatabase) -> None:
    database.register_vm("a", 100, None)
    database.register_vm("b", 101, None)
    assert database.reserve_nft_token_id("a") == 0
    assert database.reserve_nft_token_id("a") == 0
    assert database.reserve_nft_token_id("b", 7) == 7
    assert database.mark_nft_minted("a")["nft_minted"] is True
    assert database.mark_nft_failed("a")["nft_minted"] is False
    with pytest.raises(BlockhostError, match="no VM named x"):
        database.mark_nft_minted("x")


def test_threads_get_different_addresses(database: VMDatabase) -> None:
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda _: database.allocate_ipv6(), range(100)))
    assert len(set(given)) == 100


ALLOCATE = """
import sys
from pathlib import Path
from blockhost.vm_db import Pools, VMDatabase
pools = Pools.parse({"ip_pool": {"network": "10.0.0.0/16", "start": "10.0.1.0", "end": "10.0.9.0",
                                 "gateway": "10.0.0.1"}}, source="x")
database = VMDatabase(Path(sys.argv[1]), pools)
for number in range(30):
    record = database.reserve_vm(f"{sys.argv[2]}-{number}")
    print(record["ip_address"], record["vmid"])
"""


def test_processes_get_different_addresses(tmp_path: Path) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", ALLOCATE, str(tmp_path / "vms.db"), f"p{number}"],
            env={"PYTHONPATH": str(COMMON)}, stdout=subprocess.PIPE, text=True,
        )
        for number in range(4)
    ]  # fmt: skip
    lines = [line for process in running for line in process.communicate()[0].splitlines()]
    assert len(lines) == 120
    assert len({line.split()[0] for line in lines}) == 120
    assert len({line.split()[1] for line in lines}) == 120


def test_file_is_durable_and_private(tmp_path: Path) -> None:
    database = VMDatabase(tmp_path / "vms.db")
    assert (tmp_path / "vms.db").stat().st_mode & 0o777 == 0o640
    connection = database._connection
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
    database.close()


def test_newer_schema_is_refused(tmp_path: Path) -> None:
    VMDatabase(tmp_path / "vms.db").close()
    with sqlite3.connect(tmp_path / "vms.db") as raw:
        raw.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    raw.close()
    with pytest.raises(DamagedFile, match="newer than this program"):
        VMDatabase(tmp_path / "vms.db")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": "x"}, r"\$\.ip_pool\.start"),
        ({"end": "192.0.1.9"}, "is not a range in"),
        ({"start": "192.0.2.9", "end": "192.0.2.8"}, "is not a range in"),
        ({"network": "x"}, r"\$\.ip_pool\.network"),
        ({"reserved": ["y"]}, r"\$\.ip_pool\.reserved"),
        ({"gateway": None}, r"\$\.ip_pool\.gateway"),
    ],
)
def test_bad_pool_is_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(BlockhostError, match=message):
        Pools.parse({"ip_pool": {**CONFIG["ip_pool"], **change}}, source="db.yaml")  # type: ignore[dict-item]


def test_database_of_the_host(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"db\.yaml: missing"):
        get_database()
    (root / "etc/blockhost/db.yaml").write_text("db_file: /var/lib/blockhost/vms.db\n")
    database = get_database()
    assert (root / "var/lib/blockhost/vms.db").exists()
    with pytest.raises(PoolExhausted, match="no ip_pool"):
        database.allocate_ip()
    database.close()
