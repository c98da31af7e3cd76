"""Allocation under load, under random histories, and under SIGKILL: unique, and nothing lost."""

from __future__ import annotations

import ipaddress
import subprocess
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from blockhost.vm_db import MockVMDatabase, PoolExhausted, Pools, VMDatabase

COMMON = Path(__file__).parents[1]
PROCESSES = 20
EACH = 15

MAKE = """
import os, signal, sys
from pathlib import Path
from blockhost.vm_db import Pools, VMDatabase
file, me, count, die_after = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
pools = Pools.parse({"ip_pool": {"network": "10.0.0.0/16", "start": "10.0.0.0", "end": "10.0.9.0",
                                 "gateway": "10.0.0.1", "reserved": ["10.0.0.7"]},
                     "ipv6_pool": {"start": "2001:db8::", "end": "2001:db8::ffff"}}, source="x")
database = VMDatabase(file, pools)
for number in range(count):
    if number == die_after:
        with database.transaction():
            database.reserve_vm(f"{me}-{number}")
            os.kill(os.getpid(), signal.SIGKILL)
    record = database.reserve_vm(f"{me}-{number}")
    if number % 3 == 2:
        database.mark_active(record["vm_name"])
        database.mark_destroyed(record["vm_name"])
    print(record["vm_name"], flush=True)
"""


def run_parallel(file: Path, die_after: int = -1) -> list[str]:
    """What the processes were told that they have."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", MAKE, str(file), f"p{number}", str(EACH), str(die_after)],
            env={"PYTHONPATH": str(COMMON)}, stdout=subprocess.PIPE, text=True,
        )
        for number in range(PROCESSES)
    ]  # fmt: skip
    told = [line for process in running for line in process.communicate(timeout=100)[0].split()]
    assert {process.returncode for process in running} == {-9 if die_after >= 0 else 0}
    return told


def check(file: Path, told: list[str]) -> None:
    database = VMDatabase(file, create=False)
    known = {record["vm_name"]: record for record in database.list_vms()}
    assert set(known) == set(told)  # none lost, and none that nobody knows of
    live = [record for record in known.values() if record["status"] == "creating"]
    for column in ("ip_address", "ipv6_address"):
        values = [record[column] for record in live]  # type: ignore[literal-required]
        assert len(set(values)) == len(values)
        assert not set(values) & {"10.0.0.0", "10.0.0.1", "10.0.0.7", "10.0.255.255", "2001:db8::"}
    ids = [record["vmid"] for record in known.values()]
    assert len(set(ids)) == len(ids)  # destroyed ones included: an id never comes back
    assert database.complaints() == []
    database.close()


def test_twenty_processes_allocate_and_register(tmp_path: Path) -> None:
    told = run_parallel(tmp_path / "vms.db")
    assert len(told) == PROCESSES * EACH
    check(tmp_path / "vms.db", told)


def test_killed_in_the_middle_leaves_nothing_half(tmp_path: Path) -> None:
    told = run_parallel(tmp_path / "vms.db", die_after=4)
    assert len(told) == PROCESSES * 4
    check(tmp_path / "vms.db", told)


class History(RuleBasedStateMachine):
    """Any order of calls, against a model of sets: always the lowest free address, never a taken one."""

    FIRST, LAST, GATEWAY, RESERVED = 8, 16, 9, 12

    def __init__(self) -> None:
        super().__init__()
        self.reserved = {self.GATEWAY, self.RESERVED}
        self.database = MockVMDatabase()
        self.set_pool(self.LAST)
        self.taken: dict[int, str | None] = {}
        self.live: dict[str, int | None] = {}
        self.vmid = 100

    def set_pool(self, last: int) -> None:
        self.last = last
        pool = {"start": self.FIRST, "end": last, "gateway": self.GATEWAY}
        document = {key: f"192.0.2.{number}" for key, number in pool.items()}
        reserved = [f"192.0.2.{self.RESERVED}"]
        self.database.pools = Pools.parse(
            {"ip_pool": {"network": "192.0.2.0/24", **document, "reserved": reserved}}, source="x"
        )

    def free(self) -> list[int]:
        return [n for n in range(self.FIRST, self.last + 1) if n not in self.taken and n not in self.reserved]

    def allocated(self) -> int | None:
        expected = self.free()
        try:
            found = int(ipaddress.IPv4Address(self.database.allocate_ip())) & 255
        except PoolExhausted:
            assert expected == []
            return None
        assert found == expected[0]
        self.taken[found] = None
        return found

    @rule()
    def allocate(self) -> None:
        self.allocated()

    @rule(name=st.sampled_from("abcde"))
    def make(self, name: str) -> None:
        if name in self.live:
            return
        number = self.allocated()
        if number is not None:
            self.vmid += 1
            self.database.register_vm(name, self.vmid, f"192.0.2.{number}")
            self.taken[number], self.live[name] = name, number

    @rule(name=st.sampled_from("abcde"), number=st.integers(4, 20))
    def make_by_hand(self, name: str, number: int) -> None:
        if name in self.live or self.taken.get(number) is not None:
            return
        self.vmid += 1
        self.database.register_vm(name, self.vmid, f"192.0.2.{number}")
        self.taken[number], self.live[name] = name, number

    @rule(name=st.sampled_from("abcde"), forget=st.booleans())
    def end(self, name: str, forget: bool) -> None:
        if name not in self.live:
            return
        number = self.live.pop(name)
        if forget:
            self.database.forget_vm(name)
        else:
            self.database.mark_destroyed(name)
        if number is not None and self.taken.get(number) == name:
            del self.taken[number]

    @rule(number=st.integers(4, 20))
    def release(self, number: int) -> None:
        self.database.release_ip(f"192.0.2.{number}")
        self.taken.pop(number, None)

    @rule(last=st.integers(12, 18))
    def change_pool(self, last: int) -> None:
        self.set_pool(last)

    @invariant()
    def addresses_are_those_of_the_model(self) -> None:
        rows = self.database._file.rows("SELECT address, vm_name FROM addresses WHERE family = 4")
        found = {int(ipaddress.IPv4Address(row["address"])) & 255: row["vm_name"] for row in rows}
        assert found == self.taken

    def teardown(self) -> None:
        self.database.close()


TestHistory = History.TestCase
TestHistory.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
