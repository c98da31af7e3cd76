"""From a grant to a machine that its owner, and nobody else, gets into; killed wherever it happens."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from blockhost.cloud_init import gecos
from blockhost.engine_local import sealing
from blockhost.engine_local.cli import bw, local
from blockhost.engine_local.ledger import credentials, events, keys, open_ledger, subscriptions
from blockhost.engine_local.source import LedgerSource
from blockhost.subscriptions.jobs import JobStore
from blockhost.vm_db import get_database
from testing.fakes import provisioner as fake

TOP = Path(__file__).resolve().parents[3]
PYTHON_PATH = ":".join(str(TOP / part) for part in ("packages/common", "plugins/engine-local", "."))
DEADLINE_S = 60
#: Other points at each run; `BLOCKHOST_SEED` repeats one, `BLOCKHOST_MONITOR_KILLS` wants more of them.
KILLS = int(os.environ.get("BLOCKHOST_MONITOR_KILLS", "14"))
POOL = {"network": "192.0.2.0/24", "start": "192.0.2.2", "end": "192.0.2.99", "gateway": "192.0.2.1"}


@dataclass
class Host:
    """A host with a ledger, two plans and the fake provisioner; the monitor is a real process."""

    root: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "blockhost.engine_local.monitor"]
        log = (self.root / "monitor.log").open("ab")
        with log:
            self.process = subprocess.Popen(argv, env=self.environment, stderr=log)
        return self.process

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)

    def wait_settled(self, *numbers: int) -> None:
        """Until the monitor has seen every event and every job is settled."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            assert self.process is None or self.process.poll() is None, self.log()
            if self.is_settled(numbers):
                return
            time.sleep(0.02)
        pytest.fail(f"not settled: {self.jobs()}\n{self.log()}")

    def wait_running(self) -> None:
        """Until it holds its lock."""
        deadline = time.monotonic() + DEADLINE_S
        while not (self.root / "var/lib/blockhost/jobs.db").exists() and time.monotonic() < deadline:
            time.sleep(0.02)

    def is_settled(self, numbers: tuple[int, ...]) -> bool:
        with open_ledger() as book:
            last = book.execute("SELECT COALESCE(MAX(id), 0) FROM events").fetchone()[0]
        if not (self.root / "var/lib/blockhost/jobs.db").exists():
            return False
        with contextlib.closing(JobStore()) as jobs:
            known = {job.subscription: job.status for job in jobs.all()}
            return (
                jobs.position("local") == str(last)
                and set(numbers) <= set(known)
                and set(known.values()) == {"settled"}
            )

    def jobs(self) -> list[object]:
        with contextlib.closing(JobStore()) as jobs:
            return list(jobs.all())

    def log(self) -> str:
        return (self.root / "monitor.log").read_text()

    def vm(self, number: int):
        with contextlib.closing(get_database()) as database:
            return database.get_vm(f"blockhost-{number:03d}")

    def keys(self, number: int) -> str:
        folder = fake.guest(self.root, f"blockhost-{number:03d}")
        return (folder / "home/user/.ssh/authorized_keys").read_text()

    def effects(self, effect: str) -> list[str]:
        return sorted(str(line["name"]) for line in fake.effects(self.root) if line["effect"] == effect)


@pytest.fixture
def host(book, root, monkeypatch):
    templates = root / "usr/share/blockhost/cloud-init/templates"
    shutil.copytree(TOP / "packages/common/cloud-init/templates", templates)
    (root / "etc/blockhost/db.yaml").write_text(json.dumps({"ip_pool": POOL, "gc_grace_days": 0}))
    (root / "etc/blockhost/https.json").write_text('{"hostname": "host.example"}')
    get_database().close()
    monkeypatch.setenv("BLOCKHOST_PATH", f"{fake.install(root)}:/usr/bin:/bin")
    assert bw.main(["plan", "create", "Small", "50", "--memory", "1024"]) == 0
    assert bw.main(["plan", "create", "Large", "500", "--cpu", "4", "--disk", "40"]) == 0
    environment = {**os.environ, "PYTHONPATH": PYTHON_PATH}
    made = Host(root, environment)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait(DEADLINE_S)


@pytest.fixture
def run(capsys):
    def call(*words):
        capsys.readouterr()
        code = local.main(list(words))
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return call


def line(key):
    return " ".join(key.public.read_text().split()[:2])


def shown(run, number):
    code, out, _ = run("show", str(number), "--format", "json")
    assert code == 0
    return json.loads(out)


def opened(key, details):
    """What the owner reads; with age's own program where there is one."""
    if shutil.which("age"):
        argv = ["age", "--decrypt", "-i", key.file]
        return json.loads(
            subprocess.run(argv, input=details.encode(), capture_output=True, check=True).stdout
        )
    return json.loads(sealing.open_sealed(key.file.read_bytes(), sealing.from_armour(details)))


def test_grant_becomes_a_machine_and_details_for_its_owner(host, run, make_key):
    alice = make_key(name="alice")
    assert run("grant", str(alice.public), "--plan", "Large", "--days", "30")[:2] == (0, "1\n")
    before = shown(run, 1)
    assert (before["machine"], before["job"], before["details"]) == (None, None, None)
    host.start()
    host.wait_settled(1)
    assert host.stop() == 0
    after = shown(run, 1)
    assert after["machine"]["vm_name"] == "blockhost-001"
    assert after["machine"]["status"] == "active"
    assert after["job"]["status"] == "settled"
    assert opened(alice, after["details"]) == {
        "machine": "blockhost-001", "host": "host.example", "user": "user",
        "ip": "192.0.2.2", "ipv6": None, "login": "ssh user@192.0.2.2",
        "known_hosts": f"192.0.2.2 {fake.HOST_KEY}",
    }  # fmt: skip
    with pytest.raises(sealing.CannotOpen):
        sealing.open_sealed(make_key(name="eve").file.read_bytes(), sealing.from_armour(after["details"]))
    assert host.keys(1) == line(alice) + "\n"
    [made] = fake.effects(host.root)
    assert (made["cpu"], made["memory"], made["disk"]) == (4, 2048, 40)
    assert (fake.guest(host.root, "blockhost-001") / "gecos").read_text() == gecos(alice.fingerprint, 0)


def test_people_read_it_too(host, run, make_key):
    run("grant", str(make_key().public), "--plan", "Small", "--days", "1")
    _, out, _ = run("show", "1")
    assert "work:          not begun; is blockhost-monitor running?" in out
    host.start()
    host.wait_settled(1)
    _, out, _ = run("show", "1")
    assert re.search(r"^machine: +blockhost-001, active, 192\.0\.2\.2$", out, re.M)
    assert re.search(r"^work: +done$", out, re.M)
    assert out.endswith(f"{sealing.END}\n")
    assert re.search(r"^1 +active +Small .* active ", run("list")[1], re.M)


def test_transfer_gives_it_to_the_new_key_only(host, run, make_key):
    alice, bob = make_key(name="alice"), make_key("rsa", "bob")
    run("grant", str(alice.public), "--plan", "Small", "--days", "30")
    host.start()
    host.wait_settled(1)
    assert run("transfer", "1", str(bob.public)) == (0, "", "")
    host.wait_settled(1)
    assert host.keys(1) == line(bob) + "\n"
    assert (host.vm(1)["wallet_address"], host.vm(1)["gecos_synced"]) == (bob.fingerprint, True)
    assert opened(bob, shown(run, 1)["details"])["login"] == "ssh user@192.0.2.2"
    assert bw.main(["who", str(host.vm(1)["nft_token_id"])]) == 0
    with open_ledger() as book:
        assert credentials.get(book, host.vm(1)["nft_token_id"]).owner == bob.fingerprint


def test_revoked_machine_is_gone_after_the_grace_days(host, run, make_key):
    """The days of grace are 0 here."""
    run("grant", str(make_key().public), "--plan", "Small", "--days", "30")
    host.start()
    host.wait_settled(1)
    assert run("revoke", "1") == (0, "", "")
    deadline = time.monotonic() + DEADLINE_S
    while host.vm(1)["status"] != "destroyed" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert host.effects("suspend") == host.effects("destroy") == ["blockhost-001"]
    code, _, err = run("transfer", "1", str(make_key(name="bob").public))
    assert (code, "revoked" in err) == (1, True)


def test_extension_reaches_the_machine(host, run, make_key):
    run("grant", str(make_key().public), "--plan", "Small", "--days", "1")
    host.start()
    host.wait_settled(1)
    run("extend", "1", "--days", "9")
    host.wait_settled(1)
    with open_ledger() as book:
        ends_at = subscriptions.get(book, 1).ends_at
    assert host.vm(1)["expires_at"].startswith(time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ends_at)))
    assert host.effects("create") == ["blockhost-001"]


def test_key_that_only_signs_is_granted_with_a_warning(host, run, make_key):
    code, out, err = run("grant", str(make_key("ecdsa").public), "--plan", "Small", "--days", "1")
    assert (code, out) == (0, "1\n")
    assert "Nothing can be encrypted to a key of type ecdsa-sha2-nistp256" in err
    host.start()
    host.wait_settled(1)
    assert (shown(run, 1)["details"], shown(run, 1)["machine"]["ip_address"]) == (None, "192.0.2.2")


def test_monitor_without_a_ledger_says_so_and_waits(root):
    env = {**os.environ, "PYTHONPATH": PYTHON_PATH, "NOTIFY_SOCKET": ""}
    argv = [sys.executable, "-u", "-m", "blockhost.engine_local.monitor"]
    process = subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "there is no ledger yet" in process.stderr.readline()
    process.terminate()
    assert process.wait(DEADLINE_S) == 0
    process.stderr.close()


def test_second_monitor_refuses(host):
    host.start()
    host.wait_running()
    argv = [sys.executable, "-m", "blockhost.engine_local.monitor"]
    done = subprocess.run(argv, env=host.environment, capture_output=True, timeout=DEADLINE_S)
    assert (done.returncode, b"another monitor" in done.stderr) == (1, True)


# --- killed anywhere -----------------------------------------------------------------------------


def test_killed_at_random_points_nothing_is_lost_and_nothing_done_twice(host, run, make_key):
    """The operator goes on working while the monitor dies again and again."""
    seed = os.environ.get("BLOCKHOST_SEED") or str(time.time_ns())
    chance = random.Random(seed)
    owners = [make_key(name=f"owner{number}") for number in range(4)]
    expected = {}
    work = [("grant", number) for number in range(1, 5)] + [
        ("transfer", 1), ("extend", 2), ("revoke", 3), ("transfer", 4), ("extend", 1), ("transfer", 4),
    ]  # fmt: skip
    kills = 0
    while work or kills < KILLS:
        process = host.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0.1, 1.1))
        if work and kills % (KILLS // 14) == 0:
            verb, number = work.pop(0)
            owner = chance.choice(owners)
            if verb == "grant":
                assert run("grant", str(owner.public), "--plan", "Small", "--days", "30")[1] == f"{number}\n"
                expected[number] = owner
            elif verb == "transfer":
                assert run("transfer", str(number), str(owner.public))[0] == 0
                expected[number] = owner
            elif verb == "extend":
                assert run("extend", str(number), "--days", "7")[0] == 0
            else:
                assert run("revoke", str(number))[0] == 0
        assert process.poll() is None, host.log()
        process.kill()
        process.wait(DEADLINE_S)
        kills += 1
    host.start()
    host.wait_settled(1, 2, 4)
    # Revoked, and 0 days of grace: it ends as destroyed, or was never made.
    deadline = time.monotonic() + DEADLINE_S
    while (vm := host.vm(3)) and vm["status"] != "destroyed" and time.monotonic() < deadline:
        time.sleep(0.02)
    host.wait_settled(1, 2, 3, 4)
    assert host.stop() in (0, -signal.SIGTERM)  # all may have been done before it was ready
    where = f"BLOCKHOST_SEED={seed}\n{host.log()}"
    with open_ledger() as book:
        minted = book.execute("SELECT once FROM credentials").fetchall()
        ends = {number: subscriptions.get(book, number).ends_at for number in expected}
    assert len(minted) == len({row["once"] for row in minted}) <= 4, where
    made = host.effects("create")
    assert len(made) == len(set(made)), where  # none is made twice
    with contextlib.closing(get_database()) as database:
        records = {vm["vm_name"]: vm for vm in database.list_vms()}
        addresses = [vm["ip_address"] for vm in records.values() if vm["status"] != "destroyed"]
        assert database.complaints() == []
    assert set(records) <= {f"blockhost-{number:03d}" for number in expected}, where
    assert len(set(addresses)) == len(addresses)
    assert "blockhost-003" not in records or records["blockhost-003"]["status"] == "destroyed", where
    for number in (1, 2, 4):
        vm, owner = records[f"blockhost-{number:03d}"], expected[number]
        assert (vm["status"], vm["wallet_address"]) == ("active", owner.fingerprint), where
        assert vm["expires_at"].startswith(time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ends[number])))
        assert (vm["nft_minted"], vm["gecos_synced"]) == (True, True), where
        assert host.keys(number) == line(owner) + "\n", where
        assert opened(owner, shown(run, number)["details"])["ip"] == vm["ip_address"], where


# --- the source ----------------------------------------------------------------------------------


def test_every_change_is_an_event(host, run, make_key):
    key, other = str(make_key().public), str(make_key(name="other").public)
    run("grant", key, "--plan", "Small", "--days", "1")
    run("grant", key, "--plan", "Small", "--days", "1")
    run("extend", "2", "--days", "1")
    run("transfer", "1", other)
    run("revoke", "2")
    source = LedgerSource()
    found = source.events("")
    assert [(event.position, event.subscription) for event in found] == [
        ("1", 1), ("2", 2), ("3", 2), ("4", 1), ("5", 2),
    ]  # fmt: skip
    assert [event.subscription for event in source.events("3")] == [1, 2]
    assert source.events("5") == []
    assert source.ids() == [1, 2]
    assert source.subscription(9) is None
    with open_ledger() as book:
        assert events.after(book, 0, limit=2) == [(1, 1), (2, 2)]


def test_credential_of_a_subscription_is_minted_once(host, run, make_key):
    run("grant", str(make_key().public), "--plan", "Small", "--days", "1")
    source = LedgerSource()
    subscription = source.subscription(1)
    assert [source.credential(subscription) for _ in range(3)] == [0, 0, 0]
    run("transfer", "1", str(make_key(name="other").public))
    assert source.credential(source.subscription(1)) == 0


def test_user_data_is_for_the_owner(host, run, make_key):
    key = make_key()
    run("grant", str(key.public), "--plan", "Small", "--days", "1")
    source = LedgerSource()
    data = source.user_data(source.subscription(1), "blockhost-001", 5)
    [user] = yaml.safe_load(data.text)["users"]
    assert (user["name"], user["ssh_authorized_keys"]) == (data.username, [line(key)])
    assert user["gecos"] == gecos(key.fingerprint, 5)


def test_details_are_not_delivered_to_an_owner_of_before(host, run, make_key):
    from blockhost.errors import BlockhostError
    from blockhost.subscriptions import Machine

    run("grant", str(make_key().public), "--plan", "Small", "--days", "1")
    source = LedgerSource()
    before = source.subscription(1)
    token = source.credential(before)
    run("transfer", "1", str(make_key(name="other").public))
    with pytest.raises(BlockhostError, match="changed hands"):
        source.deliver(before, token, Machine("blockhost-001", "192.0.2.2", None, "user"))
    with open_ledger() as book:
        assert credentials.get(book, token).user_encrypted == "0x"
        assert keys.public_key_of(book, before.owner) is not None


def test_operator_sees_at_the_till_what_was_given_up(host, run, make_key):
    for _ in range(2):
        run("grant", str(make_key().public), "--plan", "Small", "--days", "1")
    with contextlib.closing(JobStore()) as jobs:
        jobs.ensure([1, 2])
        jobs.fail(jobs.get(1), "create: no space left", "Make room.", is_hopeless=True)
        jobs.fail(jobs.get(2), "create: too busy")
    lines = run("list")[1].splitlines()
    assert ["parked" in line for line in lines] == [False, True, False]
    told = run("show", "1")[1].splitlines()
    given_up = told.index("work:          given up: create: no space left")
    assert [line.strip() for line in told[given_up + 1 : given_up + 3]] == [
        "Make room.",
        "Mend it, then: blockhost-subscriptions retry 1",
    ]
    assert "work:          tried again soon: create: too busy" in run("show", "2")[1]
    assert shown(run, 1)["job"]["hint"] == "Make room."
