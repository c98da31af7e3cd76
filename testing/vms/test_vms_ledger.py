"""From the operator's till to a login, on real libvirt and QEMU: `make test-vms`.

Ledger, monitor and provisioner as they are; the monitor is a process that is killed while it makes
the machines. Each line that is printed is a fact that was checked.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from blockhost.engine_local import sealing
from testing.vms.host import VmHost, keypair
from testing.vms.private_libvirt import ROOT, is_possible
from testing.vms.template import template_folder

pytestmark = [pytest.mark.vm, pytest.mark.timeout(3600)]

PLUGIN = ROOT / "plugins/provisioner-libvirt"
#: Three plans: processors, memory, disk.
PLANS = {"Tiny": (1, 384, 3), "Small": (1, 448, 4), "Broad": (2, 384, 5)}
MADE_S = 900
AGO = "UPDATE subscriptions SET expires_at = unixepoch() - 60 WHERE id = ?"


@dataclass
class Till:
    """An operator's host: commands, and the monitor that systemd would keep alive."""

    host: VmHost
    keys: dict[int, Path]
    capsys: pytest.CaptureFixture[str]
    started: float
    environment: dict[str, str] = field(default_factory=dict)
    monitor: subprocess.Popen[bytes] | None = None

    def tell(self, fact: str) -> None:
        with self.capsys.disabled():
            print(f"  [{time.monotonic() - self.started:5.0f} s] {fact}", flush=True)

    @property
    def pid_file(self) -> Path:
        return self.host.root / "run/blockhost/monitor.pid"

    def furnish(self) -> None:
        """What the packages and the setup's steps leave."""
        launchers = self.host.root / "launchers"
        launchers.mkdir()
        build = tomllib.loads((PLUGIN / "debian/build.toml").read_text())
        for name, target in build["launchers"].items():
            module, _, function = target.partition(":")
            file = launchers / name
            file.write_text(
                f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
            )
            file.chmod(0o755)
        shutil.copy(PLUGIN / "provisioner.json", self.host.root / "usr/share/blockhost")
        path = f"{launchers}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self.environment = {**self.host.environment, "BLOCKHOST_PATH": path}
        self.host.python("-c", "from blockhost.engine_local import ledger; ledger.create()")
        for name, (cpu, memory, disk) in PLANS.items():
            options = ["--cpu", cpu, "--memory", memory, "--disk", disk]
            self.run("bw", "plan", "create", name, "50", *map(str, options))

    def run(self, command: str, *words: str) -> str:
        code = (
            f"import sys; from blockhost.engine_local.cli.{command} import main; sys.exit(main(sys.argv[1:]))"
        )
        return self.host.python("-c", code, *words)

    def show(self, number: int) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.run("local", "show", str(number), "--format", "json"))
        return shown

    def start_monitor(self) -> None:
        log = (self.host.root / "var/log/monitor.log").open("ab")
        # Its number in there: what was started out here is nsenter(1).
        note = f"echo $$ > {self.pid_file}; exec {sys.executable} -m blockhost.engine_local.monitor"
        argv = ["sh", "-c", note]
        with log:
            self.monitor = self.host.libvirt.popen(argv, self.environment, stdout=log, stderr=log)

    def kill_monitor(self) -> None:
        assert self.monitor is not None
        self.host.libvirt.run(["kill", "-KILL", self.pid_file.read_text().strip()])
        self.monitor.wait(20)

    def wait(self, what: str, is_so: Callable[[], bool], deadline_s: float = MADE_S) -> None:
        deadline = time.monotonic() + deadline_s
        while not is_so():
            assert self.monitor is None or self.monitor.poll() is None, self.log()
            assert time.monotonic() < deadline, f"not {what}:\n{self.log()}"
            time.sleep(0.5)

    def log(self) -> str:
        return (self.host.root / "var/log/monitor.log").read_text()[-4000:]

    def status(self, number: int) -> str:
        machine = self.show(number)["machine"]
        return str(machine["status"]) if machine else "none"

    def is_settled(self, number: int) -> bool:
        job = self.show(number)["job"]
        assert not job or job["status"] != "parked", job
        return bool(job) and job["status"] == "settled"

    def details(self, number: int) -> dict[str, str]:
        """What the owner reads with the own key."""
        text = sealing.from_armour(self.show(number)["details"])
        opened: dict[str, str] = json.loads(sealing.open_sealed(self.keys[number].read_bytes(), text))
        return opened

    def sql(self, file: str, statement: str, *values: object) -> None:
        code = (
            "import json, sqlite3, sys; from blockhost import paths\n"
            "with sqlite3.connect(paths.state_dir() / sys.argv[1]) as d:"
            " d.execute(sys.argv[2], json.loads(sys.argv[3]))"
        )
        self.host.python("-c", code, file, statement, json.dumps(values))

    def pass_grace(self, number: int) -> None:
        """Eight days on the record of a machine that sleeps, and a look at it."""
        statement = "UPDATE vms SET suspended_at = datetime('now', '-8 days') || '+00:00' WHERE vm_name = ?"
        self.sql(
            "vms.db",
            statement.replace("datetime(", "strftime('%Y-%m-%dT%H:%M:%S', "),
            f"blockhost-{number:03}",
        )
        self.host.python(
            "-c", "import sys; from blockhost.subscriptions.cli import main; sys.exit(main(sys.argv[1:]))",
            "retry", str(number),
        )  # fmt: skip


@pytest.fixture
def till(tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]) -> Iterator[Till]:
    if not is_possible():
        pytest.skip("needs root, libvirt-daemon-system and qemu-system-x86")
    directory = tmp_path_factory.mktemp("till")
    started = time.monotonic()
    with VmHost.start(directory, template_folder()) as host:
        keys = {number: keypair(directory, f"owner{number}") for number in (1, 2, 3)}
        till = Till(host, keys, capsys, started)
        try:
            till.furnish()
            yield till
        finally:
            if till.monitor is not None and till.monitor.poll() is None:
                till.kill_monitor()


def test_subscriptions_live_as_machines(till: Till) -> None:
    granted_and_made(till)
    only_the_owner_reads_and_logs_in(till)
    transferred(till)
    ended_and_extended(till)
    revoked_and_gone(till)


def granted_and_made(till: Till) -> None:
    """The monitor is killed once while guests boot."""
    for number, plan in enumerate(PLANS, start=1):
        said = till.run("local", "grant", f"{till.keys[number]}.pub", "--plan", plan, "--days", "30")
        assert said == f"{number}\n"
    till.start_monitor()
    till.wait("begun", lambda: all(till.status(number) == "creating" for number in till.keys), 120)
    till.kill_monitor()
    till.tell("three grants with three plans; the monitor was killed while it made the machines")
    till.start_monitor()
    till.wait("made", lambda: all(till.is_settled(number) for number in till.keys))
    for number, (cpu, memory, _) in enumerate(PLANS.values(), start=1):
        assert till.status(number) == "active"
        assert till.host.do("guest-exec", f"blockhost-{number:03}", "nproc").strip() == str(cpu)
        total = till.host.do(
            "guest-exec", f"blockhost-{number:03}", "sh", "-c", "grep MemTotal /proc/meminfo"
        )
        assert 0.7 * memory * 1024 < int(total.split()[1]) <= memory * 1024
    till.tell("the next monitor made all three, each once, each with its plan")


def only_the_owner_reads_and_logs_in(till: Till) -> None:
    known = set()
    for number, key in till.keys.items():
        details = till.details(number)
        assert details["machine"] == f"blockhost-{number:03}"
        till.host.wait_for_ssh(details["ip"], key, user=details["user"])
        # What the sealed details promise is what the guest's sshd presents.
        presented = till.host.libvirt.run(["ssh-keyscan", "-T", "30", "-t", "ed25519", details["ip"]]).strip()
        assert presented == details["known_hosts"]
        known.add(presented.split()[-1])
        for other, foreign in till.keys.items():
            if other == number:
                continue
            assert till.host.ssh(details["ip"], foreign).code == 255
            with pytest.raises(sealing.CannotOpen):
                sealing.open_sealed(foreign.read_bytes(), sealing.from_armour(till.show(number)["details"]))
    assert len(known) == len(till.keys)
    till.tell("each owner reads the own details, with the guest's host key, and logs in; nobody else does")


def transferred(till: Till) -> None:
    before, new = till.keys[1], keypair(till.keys[1].parent, "new-owner")
    address = till.details(1)["ip"]
    till.run("local", "transfer", "1", f"{new}.pub")
    till.keys[1] = new
    till.wait("transferred", lambda: till.is_settled(1) and till.show(1)["details"] is not None)
    assert till.host.ssh(address, before).code == 255
    assert till.host.ssh(till.details(1)["ip"], new).code == 0
    said = till.host.ssh(address, new, "getent passwd user; ls -A ~/.ssh").stdout
    assert f"nft={till.show(1)['credentials'][0]}" in said
    assert said.split()[-1] == "authorized_keys"
    till.tell("after a transfer only the new owner's key logs in")


def ended_and_extended(till: Till) -> None:
    till.sql("ledger.db", AGO, 2)
    till.wait("suspended", lambda: till.status(2) == "suspended" and till.is_settled(2))
    address = till.details(2)["ip"]
    assert till.host.ssh(address, till.keys[2]).code == 255
    till.run("local", "extend", "2", "--days", "5")
    till.wait("resumed", lambda: till.status(2) == "active" and till.is_settled(2))
    till.host.wait_for_ssh(address, till.keys[2], deadline_s=600)
    till.tell("a machine slept at its end, and was back with an extension")


def revoked_and_gone(till: Till) -> None:
    for number in till.keys:
        till.run("local", "revoke", str(number))
    for number in till.keys:
        till.wait(
            "asleep", lambda number=number: till.status(number) == "suspended" and till.is_settled(number)
        )  # type: ignore[misc]
        till.pass_grace(number)
    till.wait("gone", lambda: all(till.status(number) == "destroyed" for number in till.keys))
    till.kill_monitor()
    till.monitor = None
    left = {what: items for what, items in till.host.leftovers().items() if items}
    assert left == {}
    with contextlib.suppress(FileNotFoundError):
        till.log()
    till.tell("revoked and past the days of grace: nothing is left")
