"""Worker and monitor against the fake provisioner: real programs, real database, an invented engine."""

from __future__ import annotations

import contextlib
import datetime
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from blockhost import wall_clock
from blockhost.errors import BlockhostError
from blockhost.provisioner import get_provisioner
from blockhost.subscriptions import Event, Machine, Subscription, UserData
from blockhost.subscriptions.jobs import JobStore
from blockhost.subscriptions.monitor import Monitor, serve
from blockhost.subscriptions.worker import Worker
from blockhost.vm_db import VmRecord, get_database
from testing.fakes import provisioner as fake
from testing.fakes.clocks import Clocks

DAY = datetime.timedelta(days=1)
POOL = {"network": "192.0.2.0/24", "start": "192.0.2.2", "end": "192.0.2.99", "gateway": "192.0.2.1"}
MACHINE = Machine("blockhost-001", "192.0.2.2", None, "user", fake.HOST_KEY)
USER_DATA = (
    "#cloud-config\nusers:\n- {name: user, gecos: 'wallet=%s,nft=%d', ssh_authorized_keys: [key-of-%s]}\n"
)


@dataclass
class Engine:
    """The truth is a dictionary; what is delivered is kept."""

    known: dict[int, Subscription] = field(default_factory=dict)
    happened: list[Event] = field(default_factory=list)
    delivered: list[tuple[str, Machine]] = field(default_factory=list)
    name: str = "test"

    def set(self, subscription: Subscription) -> None:
        self.known[subscription.id] = subscription
        self.happened.append(Event(str(len(self.happened) + 1), subscription.id))

    def change(self, number: int, **changes: object) -> None:
        self.set(replace(self.known[number], **changes))  # type: ignore[arg-type]

    def events(self, after: str) -> Sequence[Event]:
        return self.happened[int(after or 0) :][:2]  # in portions

    def ids(self) -> Sequence[int]:
        return list(self.known)

    def subscription(self, number: int) -> Subscription | None:
        return self.known.get(number)

    def credential(self, subscription: Subscription) -> int:
        return 1000 + subscription.id

    def user_data(self, subscription: Subscription, name: str, token: int) -> UserData:
        return UserData(USER_DATA % (subscription.owner, token, subscription.owner), "user")

    def owner_commands(self, subscription: Subscription, username: str) -> Sequence[Sequence[str]]:
        script = 'echo "key-of-$2" > "$(getent passwd "$1" | cut -d: -f6)/.ssh/authorized_keys"'
        return [["/bin/sh", "-c", script, "sh", username, subscription.owner]]

    def deliver(self, subscription: Subscription, token: int, machine: Machine) -> None:
        self.delivered.append((subscription.owner, machine))


class Clock:
    def __init__(self) -> None:
        self.now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)

    def __call__(self) -> datetime.datetime:
        return self.now


@dataclass
class Host:
    """A host with an engine, the fake provisioner and a monitor."""

    root: Path
    engine: Engine
    clock: Clock
    jobs: JobStore
    monitor: Monitor

    def run(self) -> None:
        """Until nothing is due any more."""
        while True:
            self.monitor.tick()
            self.monitor.wait_idle()
            if not self.jobs.due():
                return

    def vm(self, number: int = 1) -> VmRecord:
        with contextlib.closing(get_database()) as database:
            record = database.get_vm(f"blockhost-{number:03d}")
        assert record is not None
        return record

    def effects(self) -> list[str]:
        return [str(line["effect"]) for line in fake.effects(self.root)]

    def keys(self, number: int = 1) -> str:
        return (
            fake.guest(self.root, f"blockhost-{number:03d}") / "home/user/.ssh/authorized_keys"
        ).read_text()

    def pass_days(self, days: float) -> None:
        """The host's clock and the fake's: it reads the real one, so its records are moved instead."""
        self.clock.now += days * DAY
        moved = -days * DAY
        with contextlib.closing(get_database()) as database, database.transaction() as connection:
            for vm in database.list_vms():
                for column in ("expires_at", "suspended_at"):
                    if vm[column]:  # type: ignore[literal-required]
                        moment = datetime.datetime.fromisoformat(vm[column]) + moved  # type: ignore[literal-required]
                        connection.execute(
                            f"UPDATE vms SET {column} = ? WHERE vm_name = ?",
                            (moment.isoformat(), vm["vm_name"]),
                        )


@pytest.fixture
def host(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    (root / "etc/blockhost/db.yaml").write_text(json.dumps({"ip_pool": POOL, "gc_grace_days": 2}))
    get_database().close()
    commands = fake.install(root)
    monkeypatch.setenv("BLOCKHOST_PATH", f"{commands}:/usr/bin:/bin")
    clock, engine = Clock(), Engine()
    jobs = JobStore(clock=clock)
    monitor = Monitor(engine, jobs, Worker(engine, jobs, clock=clock))
    yield Host(root, engine, clock, jobs, monitor)
    monitor.stop()
    monitor.run()
    jobs.close()


def alice(clock: Clock, number: int = 1, days: int = 10) -> Subscription:
    return Subscription(number, "alice", 2, 1024, 10, clock.now + days * DAY)


def test_subscription_becomes_a_machine(host: Host) -> None:
    host.engine.set(alice(host.clock))
    host.run()
    vm = host.vm()
    assert (vm["status"], vm["wallet_address"], vm["nft_token_id"]) == ("active", "alice", 1001)
    assert vm["expires_at"] == (host.clock.now + 10 * DAY).isoformat()
    assert (vm["nft_minted"], vm["gecos_synced"]) == (True, True)
    [made] = fake.effects(host.root)
    assert (made["effect"], made["cpu"], made["memory"], made["disk"]) == ("create", 2, 1024, 10)
    assert host.keys() == "key-of-alice\n"
    assert host.engine.delivered == [("alice", MACHINE)]
    job = host.jobs.get(1)
    assert (job.status, job.doing, job.note, job.token) == ("settled", None, "", 1001)


def test_same_event_again_does_nothing(host: Host) -> None:
    host.engine.set(alice(host.clock))
    host.run()
    host.engine.happened.append(Event("2", 1))
    host.jobs.retry(1)
    host.run()
    assert host.effects() == ["create"]
    assert len(host.engine.delivered) == 1


def test_life_of_a_subscription(host: Host) -> None:
    """Expiry suspends, extension resumes, grace destroys, and a later extension makes a new one."""
    host.engine.set(alice(host.clock))
    host.run()
    host.clock.now += 10 * DAY + datetime.timedelta(seconds=1)
    host.engine.change(1, ends_at=datetime.datetime.now(datetime.UTC).replace(microsecond=0) - 5 * DAY)
    host.clock.now = datetime.datetime.now(datetime.UTC)
    host.run()
    assert (host.vm()["status"], host.effects()) == ("suspended", ["create", "suspend"])
    assert host.jobs.get(1).note == "suspended"
    host.engine.change(1, ends_at=host.clock.now.replace(microsecond=0) + 3 * DAY)
    host.run()
    assert (host.vm()["status"], host.effects()[2:]) == ("active", ["resume"])
    host.engine.change(1, ends_at=host.clock.now.replace(microsecond=0) - DAY)
    host.run()
    assert (host.vm()["status"], host.effects()[3:]) == ("suspended", ["suspend"])
    host.pass_days(2.01)
    host.engine.change(1, ends_at=datetime.datetime.fromisoformat(str(host.vm()["expires_at"])))
    host.run()
    assert (host.vm()["status"], host.effects()[4:]) == ("destroyed", ["destroy"])
    assert host.jobs.get(1).note == "ended"
    host.engine.change(1, ends_at=host.clock.now.replace(microsecond=0) + DAY)
    host.run()
    assert (host.vm()["status"], host.effects()[5:]) == ("active", ["create"])
    assert host.keys() == "key-of-alice\n"


def test_nothing_ends_by_a_clock_in_doubt(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, nothing counts as failed, and all goes on once the clock is known."""
    host.engine.set(alice(host.clock))
    host.run()
    clocks = Clocks.install(monkeypatch)
    wall_clock.trust()
    clocks.jump(9 * 86_400)
    host.engine.change(1, ends_at=host.clock.now - DAY)
    host.run()
    assert (host.vm()["status"], host.effects()) == ("active", ["create"])
    job = host.jobs.get(1)
    assert (job.status, job.attempts) == ("due", 0)
    assert "the clock cannot be relied on" in job.note
    assert "blockhost-clock trust" in job.hint
    clocks.is_synchronised = True
    host.clock.now += datetime.timedelta(minutes=15)
    host.run()
    assert (host.vm()["status"], host.effects()) == ("suspended", ["create", "suspend"])
    assert host.jobs.get(1).note == "suspended"


def test_expiry_needs_no_event(host: Host) -> None:
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    host.clock.now = now - DAY  # the fake's clock is a day ahead of the engine's
    host.engine.set(replace(alice(host.clock), ends_at=now - datetime.timedelta(seconds=5)))
    host.run()
    assert host.vm()["status"] == "active"
    host.clock.now = now - datetime.timedelta(seconds=5)
    host.run()
    assert host.vm()["status"] == "active"  # the last second still belongs to it
    host.clock.now = now - datetime.timedelta(seconds=4)
    host.run()
    assert host.vm()["status"] == "suspended"


def test_new_owner_gets_in_and_the_old_one_does_not(host: Host) -> None:
    host.engine.set(alice(host.clock))
    host.run()
    host.engine.change(1, owner="bob")
    host.run()
    vm = host.vm()
    assert (vm["owner"], vm["wallet_address"], vm["gecos_synced"]) == ("bob", "bob", True)
    assert host.keys() == "key-of-bob\n"
    assert (fake.guest(host.root, "blockhost-001") / "gecos").read_text() == "wallet=bob,nft=1001"
    assert [owner for owner, _ in host.engine.delivered] == ["alice", "bob"]
    assert host.effects() == ["create", "update-gecos", "guest-exec"]


def test_owner_changed_while_asleep_is_told_to_the_guest_when_it_wakes(host: Host) -> None:
    host.engine.set(alice(host.clock))
    host.run()
    host.engine.change(1, ends_at=host.clock.now - DAY)
    host.run()
    host.engine.change(1, owner="bob")
    host.run()
    assert (host.vm()["wallet_address"], host.keys(), host.jobs.get(1).status) == (
        "bob", "key-of-alice\n", "settled",
    )  # fmt: skip
    host.engine.change(1, ends_at=host.clock.now + DAY)
    host.run()
    assert (host.keys(), host.vm()["gecos_synced"]) == ("key-of-bob\n", True)


def test_failure_is_told_tried_again_and_parked(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_PROVISIONER_FAIL", "create")
    host.engine.set(alice(host.clock))
    host.run()
    job = host.jobs.get(1)
    assert (job.status, job.attempts, job.doing) == ("due", 1, None)
    assert "told to fail" in f"{job.note} {job.hint}"
    for _ in range(20):
        host.clock.now += datetime.timedelta(seconds=901)
        host.run()
    assert (host.jobs.get(1).status, host.jobs.get(1).attempts) == ("parked", 12)
    monkeypatch.delenv("FAKE_PROVISIONER_FAIL")
    host.clock.now += DAY
    host.run()
    assert host.effects() == []
    host.jobs.retry(1)
    host.run()
    assert (host.jobs.get(1).status, host.effects()) == ("settled", ["create"])


def test_creation_that_failed_behind_its_effect_is_recognised(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_PROVISIONER_FAIL", "create-late")
    host.engine.set(alice(host.clock))
    host.run()
    assert (host.jobs.get(1).attempts, host.vm()["status"]) == (1, "active")
    host.clock.now += datetime.timedelta(seconds=10)
    host.run()
    assert (host.jobs.get(1).status, host.vm()["nft_minted"]) == ("settled", True)
    assert host.effects() == ["create", "update-gecos", "guest-exec"]  # told again, made once


def test_effect_that_did_not_happen_is_a_failure(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.engine.set(alice(host.clock))
    host.run()
    # The engine's clock is ahead of the provisioner's: gc succeeds, and suspends nothing.
    host.clock.now += 11 * DAY
    host.run()
    assert host.vm()["status"] == "active"
    assert "suspend: it reported success, and nothing changed" in host.jobs.get(1).note


def test_foreign_machine_is_not_taken_over(host: Host) -> None:
    with contextlib.closing(get_database()) as database:
        database.reserve_vm("blockhost-001", owner="operator")
        database.mark_active("blockhost-001")
    host.engine.set(alice(host.clock))
    host.run()
    assert (host.jobs.get(1).status, host.vm()["owner"]) == ("parked", "operator")
    assert "not this subscription's" in host.jobs.get(1).note
    assert host.effects() == []


def test_leftover_of_a_killed_creation_is_replaced(host: Host) -> None:
    with contextlib.closing(get_database()) as database:
        database.reserve_vm("blockhost-001", owner="alice")
    host.engine.set(alice(host.clock))
    host.run()
    assert (host.vm()["status"], host.effects()) == ("active", ["leftover", "create"])


def test_machine_destroyed_by_hand_stays_away_until_asked_for(host: Host) -> None:
    host.engine.set(alice(host.clock))
    host.run()
    get_provisioner().run("destroy", ["blockhost-001"])
    host.engine.happened.append(Event("2", 1))
    host.run()
    assert (host.vm()["status"], "retry 1" in host.jobs.get(1).note) == ("destroyed", True)
    host.jobs.retry(1)
    host.run()
    assert host.vm()["status"] == "active"


def test_bug_in_an_engine_costs_its_own_job(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.engine.set(replace(alice(host.clock, 1), disk_gb="many"))  # type: ignore[arg-type]
    host.engine.set(alice(host.clock, 2))
    honest = host.engine.credential
    host.engine.credential = lambda subscription: 1 // (subscription.id - 1) or honest(subscription)  # type: ignore[method-assign]
    host.run()
    assert host.vm(2)["status"] == "active"
    assert host.jobs.get(1).note == "internal error: ZeroDivisionError"
    assert "ZeroDivisionError" in caplog.text


def test_missing_database_is_waited_for(host: Host) -> None:
    hidden = host.root / "hidden"
    hidden.mkdir()
    files = list((host.root / "var/lib/blockhost").glob("vms.db*"))
    for file in files:
        file.rename(hidden / file.name)
    host.engine.set(alice(host.clock))
    host.run()
    assert "no VM database yet" in host.jobs.get(1).note
    for file in hidden.iterdir():
        file.rename(host.root / "var/lib/blockhost" / file.name)
    host.clock.now += datetime.timedelta(seconds=5)
    host.run()
    assert host.vm()["status"] == "active"


def test_stopping_attempt_does_not_count(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_PROVISIONER_FAIL", "create")
    host.engine.set(alice(host.clock))
    host.jobs.ensure([1])
    answers = iter([False, False, True, True])
    Worker(host.engine, host.jobs, clock=host.clock).work(1, lambda: next(answers))
    job = host.jobs.get(1)
    assert (job.status, job.attempts, job.doing) == ("due", 0, "create")


def test_three_at_once_and_each_once(host: Host) -> None:
    for number in range(1, 9):
        host.engine.set(alice(host.clock, number))
    host.run()
    names = [line["name"] for line in fake.effects(host.root)]
    assert sorted(names) == [f"blockhost-{number:03d}" for number in range(1, 9)]
    assert len({host.vm(number)["ip_address"] for number in range(1, 9)}) == 8


def test_broken_source_is_told_once_and_survived(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    calls = threading.Event()
    count = 0

    def events(after: str) -> Sequence[Event]:
        nonlocal count
        count += 1
        if count > 3:
            calls.set()
        raise BlockhostError("the ledger is on fire")

    host.engine.events = events  # type: ignore[method-assign]
    running = threading.Thread(target=host.monitor.run, args=(0.01,))
    running.start()
    assert calls.wait(20)
    host.monitor.stop()
    running.join(20)
    assert not running.is_alive()
    assert caplog.text.count("the ledger is on fire") == 1


def test_events_that_do_not_advance_do_not_hang(host: Host) -> None:
    host.engine.events = lambda _after: [Event("1", 1)]  # type: ignore[method-assign]
    host.engine.known[1] = alice(host.clock)
    host.monitor.tick()
    host.monitor.wait_idle()
    assert host.jobs.position("test") == "1"


def test_second_monitor_is_refused(host: Host) -> None:
    import fcntl

    with (host.root / "var/lib/blockhost/monitor.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BlockhostError, match="another monitor"):
            serve(host.engine)


def test_fake_refuses_what_the_contract_does_not_have(host: Host) -> None:
    for words in (["x", "--force"], [], ["x", "--owner", "a", "--apply"]):
        done = get_provisioner().run("create", words)
        assert (done.code, "FAKE" in done.stderr) == (2, True)


def test_lost_book_of_jobs_makes_nothing_twice(host: Host) -> None:
    for number in (1, 2):
        host.engine.set(alice(host.clock, number))
    host.run()
    host.jobs.close()
    for file in (host.root / "var/lib/blockhost").glob("jobs.db*"):
        file.unlink()
    host.jobs = JobStore(clock=host.clock)
    host.monitor = Monitor(host.engine, host.jobs, Worker(host.engine, host.jobs, clock=host.clock))
    host.run()
    assert host.effects().count("create") == 2
    assert {host.vm(number)["status"] for number in (1, 2)} == {"active"}
    assert [job.status for job in host.jobs.all()] == ["settled", "settled"]


@pytest.mark.parametrize(
    "said", ["", "nonsense", "ssh-ed25519 AAAA", "ssh-rsa " + "A" * 68, "ssh-ed25519 " + "!" * 68]
)
def test_guest_that_hides_its_host_key_is_delivered_without(host: Host, said: str) -> None:
    worker = Worker(host.engine, host.jobs, clock=host.clock)
    worker._run = lambda _verb, _args: said  # type: ignore[method-assign]
    assert worker._host_key("blockhost-001") is None
    worker._run = lambda _verb, _args: f"{fake.HOST_KEY} root@guest\nmore\n"  # type: ignore[method-assign]
    assert worker._host_key("blockhost-001") == fake.HOST_KEY
