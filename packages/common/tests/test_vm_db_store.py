"""The database of machines: one suite for the file and for the one in memory."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from blockhost.errors import BlockhostError, ConfigError
from blockhost.vm_db import MockVMDatabase, PoolExhausted, Pools, VMDatabase, get_database
from blockhost.vm_db.own_addresses import own_addresses

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
    assert database.addresses_in_use() == ["192.0.2.2", "192.0.2.5", "192.0.2.6"]
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


def test_address_of_another_machine_is_refused(database: VMDatabase) -> None:
    database.register_vm("a", 100, "192.0.2.2", "2001:DB8::10")
    for ip, ipv6 in (("192.0.2.2", None), (None, "2001:db8::10"), (None, "2001:db8:0::10")):
        with pytest.raises(BlockhostError, match="belongs to the VM a"):
            database.register_vm("b", 101, ip, ipv6)
    with pytest.raises(BlockhostError, match="the id 100 belongs to the VM a"):
        database.register_vm("b", 100, "192.0.2.4")
    assert database.get_vm("b") is None
    assert database.allocate_ip() == "192.0.2.4"
    with pytest.raises(BlockhostError, match="'x' is not an address"):
        database.register_vm("b", 101, "x")


def test_id_registered_by_hand_is_not_handed_out(database: VMDatabase) -> None:
    database.register_vm("a", 100, None)
    assert database.allocate_vmid() == 101


def test_late_destroy_does_not_free_the_next_holders_address(database: VMDatabase) -> None:
    """Released, handed to b, and only then is a marked: b's address must stay b's."""
    address = database.allocate_ip()
    database.register_vm("a", 100, address)
    database.release_ip(address)
    assert database.register_vm("b", 101, database.allocate_ip())["ip_address"] == address
    database.mark_destroyed("a")
    assert database.allocate_ip() != address
    database.forget_vm("a")
    assert database.register_vm("c", 102, database.allocate_ip())["ip_address"] != address


def test_pool_that_changes_starts_over(database: VMDatabase) -> None:
    taken = [database.allocate_ip() for _ in range(3)]  # .2 .4 .5
    database.register_vm("a", 100, "192.0.2.9")
    database.release_ip(taken[0])
    database.pools = Pools.parse(
        {"ip_pool": {**CONFIG["ip_pool"], "start": "192.0.2.3", "end": "192.0.2.10", "reserved": []}},
        source="db.yaml",
    )
    assert [database.allocate_ip() for _ in range(5)] == [f"192.0.2.{n}" for n in (3, 6, 7, 8, 10)]
    database.release_ip("192.0.2.4")
    database.pools = Pools.parse(CONFIG, source="db.yaml")
    assert [database.allocate_ip() for _ in range(2)] == ["192.0.2.2", "192.0.2.4"]
    with pytest.raises(PoolExhausted):
        database.allocate_ip()


def test_huge_ipv6_pool(database: VMDatabase) -> None:
    database.pools = Pools.parse(
        {"ipv6_pool": {"start": "2001:db8::", "end": "2001:db8::ffff:ffff:ffff:ffff",
                       "gateway": "2001:db8::1", "reserved": ["2001:db8::3"]}}, source="x",
    )  # fmt: skip
    database.register_vm("a", 100, None, "2001:db8::ffff:0:0:1")
    assert [database.allocate_ipv6() for _ in range(2)] == ["2001:db8::2", "2001:db8::4"]


def test_addresses_of_the_host_are_not_handed_out(database: VMDatabase) -> None:
    database.pools = database.pools.without(["192.0.2.2", "2001:db8::10", "192.0.2.77"])
    assert (database.allocate_ip(), database.allocate_ipv6()) == ("192.0.2.4", "2001:db8::11")


def test_expiry_is_set_whatever_it_was(database: VMDatabase, clock: Clock) -> None:
    database.register_vm("a", 100, None)
    moment = clock.now + datetime.timedelta(days=7, microseconds=5)
    for _ in range(2):
        assert database.set_expiry("a", moment)["expires_at"] == "2026-01-08T00:00:00+00:00"


def test_fields_are_corrected(database: VMDatabase) -> None:
    database.register_vm("a", 100, None)
    changed = database.update_fields(
        "a", {"owner": "o", "wallet_address": None, "nft_token_id": 3, "gecos_synced": True,
              "expires_at": "2026-02-01T01:00:00+01:00", "purpose": "p", "node_id": "n2"},
    )  # fmt: skip
    assert (changed["owner"], changed["nft_token_id"], changed["gecos_synced"]) == ("o", 3, True)
    assert (changed["expires_at"], changed["node_id"]) == ("2026-02-01T00:00:00+00:00", "n2")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"status": "active"}, "'status' cannot be set"),
        ({"vm_name": "b"}, "'vm_name' cannot be set"),
        ({"owner": None}, "expected str"),
        ({"nft_token_id": True}, "expected int or null"),
        ({"gecos_synced": 1}, "expected bool"),
        ({"expires_at": "soon"}, "expected a time like"),
    ],
)
def test_wrong_field_changes_nothing(database: VMDatabase, fields: dict[str, object], message: str) -> None:
    before = database.register_vm("a", 100, None)
    with pytest.raises(BlockhostError, match=message):
        database.update_fields("a", {"purpose": "p", **fields})
    assert database.get_vm("a") == before


def test_unknown_machine_is_named(database: VMDatabase) -> None:
    for call in (
        lambda: database.update_fields("x", {"purpose": "p"}),
        lambda: database.extend_expiry("x", 1),
        lambda: database.mark_suspended("x"),
        lambda: database.mark_active("x"),
        lambda: database.mark_destroyed("x"),
    ):
        with pytest.raises(BlockhostError, match="no VM named x"):
            call()
    database.forget_vm("x")


def test_several_calls_are_one(database: VMDatabase) -> None:
    with pytest.raises(RuntimeError), database.transaction():  # noqa: PT012
        database.register_vm("a", database.allocate_vmid(), database.allocate_ip())
        raise RuntimeError
    assert database.list_vms() == []
    assert database.allocate_ip() == "192.0.2.2"
    assert database.complaints() == []


def test_threads_get_different_addresses(database: VMDatabase) -> None:
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda _: database.allocate_ipv6(), range(100)))
    assert len(set(given)) == 100


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


FIB_TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
        +-- 192.168.7.0/24 2 0 2
           |-- 192.168.7.0
              /24 link UNICAST
           |-- 192.168.7.12
              /32 host LOCAL
           |-- 192.168.7.255
              /32 link BROADCAST
"""
ROUTE = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
br0\t00000000\t0107A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
br0\t0007A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
IF_INET6 = "20010db8000000000000000000000001 02 40 00 80      br0\n"


def test_host_knows_its_addresses(tmp_path: Path) -> None:
    for name, text in (("fib_trie", FIB_TRIE), ("route", ROUTE), ("if_inet6", IF_INET6)):
        (tmp_path / name).write_text(text)
    assert own_addresses(tmp_path) == {"192.168.7.12", "192.168.7.1", "2001:db8::1"}
    assert own_addresses(tmp_path / "none") == set()
    assert "127.0.0.1" in own_addresses(Path("/proc/net"))  # this kernel's own tables


def test_database_of_the_host_reserves_the_hosts_addresses(root: Path) -> None:
    (root / "proc/net").mkdir(parents=True)
    (root / "proc/net/fib_trie").write_text("  |-- 192.0.2.2\n     /32 host LOCAL\n")
    (root / "etc/blockhost/db.yaml").write_text(json.dumps(CONFIG))
    database = get_database()
    assert database.allocate_ip() == "192.0.2.4"
    database.close()


def test_looking_makes_no_database(root: Path) -> None:
    (root / "etc/blockhost/db.yaml").write_text("{}")
    with pytest.raises(BlockhostError, match="no VM database yet") as refusal:
        get_database(create=False)
    assert "restore" in refusal.value.hint
    assert list((root / "var/lib/blockhost").iterdir()) == []
