"""The monitor as systemd runs it: its user, its sandbox, its death. The provisioner is the fake one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from testing.integration.nspawn import Appliance

pytestmark = [pytest.mark.nspawn, pytest.mark.timeout(300)]

TOP = Path(__file__).resolve().parents[2]
UNIT = "blockhost-monitor.service"
POOL = {"network": "192.0.2.0/24", "start": "192.0.2.1", "end": "192.0.2.99", "gateway": "192.0.2.1"}
#: What the setup's steps leave; the fake provisioner instead of the real one.
FURNISH = """
import sys
from pathlib import Path
sys.path.insert(0, "/mnt/tree")
from blockhost.engine_local import ledger
from blockhost.vm_db import get_database
from testing.fakes import provisioner
ledger.create()
get_database().close()
provisioner.install(Path("/"), Path("/usr/local/bin"))
"""


@pytest.fixture(scope="module")
def machine(appliance_root: list[Path]) -> Iterator[Appliance]:
    with Appliance.boot(
        appliance_root,
        binds={TOP / "testing": "/mnt/tree/testing"},
        files={"/etc/blockhost/db.yaml": yaml.safe_dump({"ip_pool": POOL}), "/root/furnish.py": FURNISH},
        without=["blockhost-firstboot.service"],
        wired=True,
        extra=["--system-call-filter=bpf"],
    ) as booted:
        booted.run(["chgrp", "-R", "blockhost", "/etc/blockhost"])
        booted.run(["chmod", "-R", "u=rwX,g=rX,o=", "/etc/blockhost"])
        booted.run(["python3", "-I", "/root/furnish.py"])
        booted.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/alice"])
        booted.run(["bw", "plan", "create", "Small", "50"])
        booted.run(["systemctl", "enable", "--now", UNIT], timeout=60)
        yield booted


def show(machine: Appliance, number: int) -> dict[str, dict[str, str]]:
    shown: dict[str, dict[str, str]] = json.loads(
        machine.run(["blockhost-local", "show", str(number), "--format", "json"])
    )
    return shown


def is_settled(machine: Appliance, number: int) -> bool:
    job = show(machine, number)["job"]
    return bool(job) and job["status"] == "settled"


def grant(machine: Appliance) -> int:
    words = ["blockhost-local", "grant", "/root/alice.pub", "--plan", "Small", "--days", "30"]
    number = int(machine.run(words))
    machine.wait_for(lambda: is_settled(machine, number), f"machine {number}", deadline_s=60)
    return number


def test_its_sandbox_lets_the_whole_work_be_done(machine: Appliance) -> None:
    number = grant(machine)
    shown = show(machine, number)
    assert shown["machine"]["status"] == "active"
    # .1 is the router's address, .2 this host's own.
    assert shown["machine"]["ip_address"] == f"192.0.2.{number + 2}"
    assert "BEGIN AGE" in str(shown["details"])
    machine.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/bob"])
    machine.run(["blockhost-local", "transfer", str(number), "/root/bob.pub"])
    home = f"/var/lib/blockhost/fake/guests/blockhost-{number:03}/home/user"
    bob = machine.read_file("/root/bob.pub").split()[:2]

    def has_key() -> bool:
        return machine.read_file(f"{home}/.ssh/authorized_keys").split()[:2] == bob

    machine.wait_for(has_key, "the new owner's key", deadline_s=60)
    assert machine.journal(UNIT).count("Operation not permitted") == 0


def test_everything_it_keeps_is_the_services(machine: Appliance) -> None:
    # SQLite's companions come and go while one looks.
    look = ["find", "/var/lib/blockhost", "-ignore_readdir_race", "-name", "*.db*", "-printf"]
    files = machine.run([*look, "%u:%g %m %p\\n"]).splitlines()
    assert len(files) >= 3
    assert {line.rpartition(" ")[0] for line in files} == {"blockhost:blockhost 640"}
    pid = machine.run(["systemctl", "show", "-p", "MainPID", "--value", UNIT]).strip()
    assert machine.run(["stat", "-c", "%U", f"/proc/{pid}"]).strip() == "blockhost"


def test_root_and_the_service_share_the_files(machine: Appliance) -> None:
    """The operator's commands run as root beside it; neither locks the other out."""
    number = grant(machine)
    for words in (["blockhost-subscriptions", "retry", str(number)], ["blockhost-vmdb", "check"]):
        machine.run(words)
    machine.run(["runuser", "-u", "blockhost", "--", "blockhost-subscriptions", "list"])
    machine.wait_for(lambda: is_settled(machine, number), "retry", deadline_s=60)


def test_killed_it_comes_back_and_goes_on(machine: Appliance) -> None:
    before = machine.run(["systemctl", "show", "-p", "MainPID", "--value", UNIT])
    machine.run(["systemctl", "kill", "--signal=KILL", UNIT])
    number = grant(machine)
    assert show(machine, number)["machine"]["status"] == "active"
    assert machine.run(["systemctl", "show", "-p", "MainPID", "--value", UNIT]) != before


def test_asked_to_stop_it_stops_at_once(machine: Appliance) -> None:
    machine.run(["systemctl", "restart", UNIT], timeout=30)
    machine.run(["systemctl", "stop", UNIT], timeout=30)
    assert machine.run(["systemctl", "show", "-p", "Result", "--value", UNIT]).strip() == "success"
    machine.run(["systemctl", "start", UNIT], timeout=30)
