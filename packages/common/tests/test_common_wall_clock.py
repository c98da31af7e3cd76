"""Clocks that jump: nothing ends by them, and nothing is put off for good either."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from blockhost import wall_clock
from blockhost.errors import BlockhostError
from blockhost.subscriptions.jobs import LONGEST_WAIT_S, JobStore
from blockhost.subscriptions.source import Event
from blockhost.vm_db import get_database
from testing.fakes.clocks import Clocks

HOUR, DAY = 3600.0, 86_400.0
YEARS = 10 * 365.25 * DAY


@pytest.fixture
def machine(root: Path, monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks.install(monkeypatch)


@pytest.fixture
def settled(machine: Clocks) -> Clocks:
    """A host whose clock is known."""
    assert wall_clock.note(lambda: None).doubt == ""
    return machine


def test_clock_that_goes_on_is_believed(settled: Clocks) -> None:
    for _ in range(1000):
        settled.sleep(600)
        settled.jump(0.3)  # a quartz
        assert wall_clock.note() == wall_clock.Reading(settled.now)


@pytest.mark.parametrize(
    ("jump", "restarts"),
    [
        *((jump, False) for jump in (YEARS, -YEARS, 2 * HOUR, -2 * HOUR, 9 * DAY)),
        *((jump, True) for jump in (YEARS, -YEARS, -2 * HOUR, 9 * DAY)),
    ],
)
def test_jump_changes_nothing_until_it_is_confirmed(settled: Clocks, jump: float, restarts: bool) -> None:
    settled.sleep(250)
    right = settled.now
    if restarts:
        settled.restart(off_s=60)
    settled.jump(jump)
    reading = wall_clock.note()
    assert "cannot be relied on" in reading.doubt
    assert "blockhost-clock trust" in reading.hint
    assert right - datetime.timedelta(seconds=260) <= reading.now <= right + datetime.timedelta(seconds=30)
    settled.sleep(DAY)
    later = wall_clock.note()
    assert later.doubt
    assert later.now - reading.now == datetime.timedelta(days=1)
    with pytest.raises(BlockhostError, match="cannot be relied on"):
        wall_clock.require()

    settled.jump(-jump)
    assert wall_clock.note() == wall_clock.Reading(settled.now)


def test_time_server_is_believed_however_far_it_moves(settled: Clocks) -> None:
    settled.restart(off_s=21 * DAY)
    assert wall_clock.note().doubt
    settled.is_synchronised = True
    assert wall_clock.note() == wall_clock.Reading(settled.now)
    # From here on the boot clock vouches for it.
    settled.is_synchronised = False
    settled.sleep(HOUR)
    assert wall_clock.read() == wall_clock.Reading(settled.now)
    settled.is_synchronised = True
    settled.jump(-YEARS)
    assert wall_clock.note() == wall_clock.Reading(settled.now)


def test_night_without_power_needs_nobody(settled: Clocks) -> None:
    settled.restart(off_s=23 * HOUR)
    assert wall_clock.note() == wall_clock.Reading(settled.now)
    settled.restart(off_s=-600)  # a battery's clock that is slow
    assert wall_clock.note().doubt == ""


def test_mark_is_seldom_written(settled: Clocks) -> None:
    before = wall_clock.file().stat().st_mtime_ns
    for _ in range(29):
        settled.sleep(10)
        wall_clock.note()
    assert wall_clock.file().stat().st_mtime_ns == before
    settled.sleep(10)
    wall_clock.note()
    assert wall_clock.file().stat().st_mtime_ns != before
    assert wall_clock.file().stat().st_mode & 0o777 == 0o640


def test_reading_writes_nothing(machine: Clocks) -> None:
    assert wall_clock.read() == wall_clock.Reading(machine.now)
    assert wall_clock.note() == wall_clock.Reading(machine.now)
    assert not wall_clock.file().exists()


def test_without_a_mark_the_records_are_asked(machine: Clocks) -> None:
    """A host that was upgraded, or lost the file: what it did last is known all the same."""
    assert wall_clock.note(lambda: machine.now - datetime.timedelta(days=20)).doubt
    assert wall_clock.read().doubt
    wall_clock.file().unlink()
    assert wall_clock.note(lambda: machine.now + datetime.timedelta(days=20)).doubt
    wall_clock.file().unlink()
    assert wall_clock.note(lambda: machine.now - datetime.timedelta(hours=3)).doubt == ""
    assert json.loads(wall_clock.file().read_text())["body"]["boot_id"] == "boot-1"


def test_damaged_mark_is_refused_until_the_operator_speaks(settled: Clocks) -> None:
    for file in wall_clock.file().parent.glob("clock.json*"):
        file.write_text("{}")
    for reading in (wall_clock.read(), wall_clock.note(lambda: None)):
        assert "clock.json" in reading.doubt
        assert reading.now == settled.now
    wall_clock.trust()
    assert wall_clock.note().doubt == ""


def test_database_and_jobs_live_by_this_clock(settled: Clocks, root: Path) -> None:
    pool = {"network": "192.0.2.0/24", "start": "192.0.2.2", "end": "192.0.2.9", "gateway": "192.0.2.1"}
    (root / "etc/blockhost/db.yaml").write_text(json.dumps({"ip_pool": pool}))
    database = get_database()
    database.register_vm("vm1", 100, "192.0.2.2", expiry_days=30)
    assert database.newest_moment() == settled.now
    settled.jump(YEARS)
    assert database.get_vms_to_suspend() == []
    assert database.get_vms_to_destroy() == []
    settled.jump(-2 * YEARS)
    made = database.register_vm("vm2", 101, "192.0.2.3", expiry_days=30)
    assert made["expires_at"] == (database.get_vm("vm1") or made)["expires_at"]
    settled.jump(YEARS)
    settled.sleep(31 * DAY)
    assert [vm["vm_name"] for vm in database.get_vms_to_suspend()] == ["vm1", "vm2"]
    database.close()


def test_attempt_is_not_put_off_for_years(settled: Clocks) -> None:
    """Its time was set by a clock that was believed, and wrong: an operator's mistake."""
    jobs = JobStore()
    settled.jump(YEARS)
    wall_clock.trust()
    jobs.take_in("test", [Event("1", 1)])
    jobs.fail(jobs.get(1), "does not work")
    settled.jump(-YEARS)
    wall_clock.trust()
    assert [job.subscription for job in jobs.due()] == [1]
    jobs.postpone(jobs.get(1), "later")
    assert (jobs.due(), jobs.get(1).attempts, jobs.get(1).note) == ([], 1, "later")
    settled.sleep(LONGEST_WAIT_S)
    assert [job.subscription for job in jobs.due()] == [1]
    jobs.close()


def test_kernel_is_asked_as_it_is() -> None:
    """The real call: whatever it says here, it changes nothing and says it twice."""
    assert wall_clock.is_synchronised() in (True, False)
    assert wall_clock.is_synchronised() == wall_clock.is_synchronised()
