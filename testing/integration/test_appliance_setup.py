"""The whole setup on the very root file system that the ISO carries: real systemd, nginx, libvirt.

What a VM adds (the installation, a kernel of its own) is in testing/vm; this takes a minute.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import yaml

from blockhost import command
from testing.integration.nspawn import Appliance
from testing.integration.panel_login import ask_panel

pytestmark = [pytest.mark.nspawn, pytest.mark.timeout(600)]

TOP = Path(__file__).resolve().parents[2]
#: The image's own network file, with addresses instead of a DHCP server.
UPLINK = """[Match]
Name=ethbh*

[Network]
Address=192.0.2.10/24
Gateway=192.0.2.1
DNS=192.0.2.1
"""
#: There is no curl on the appliance.
FETCH = """import ssl, urllib.request
context = ssl._create_unverified_context()
print(urllib.request.urlopen("https://127.0.0.1/", context=context).read().decode())
"""
SERVICES = (
    "blockhost-firewall.service",
    "blockhost-root-agent.service",
    "blockhost-admin.service",
    "blockhost-monitor.service",
    "blockhost-vm-gc.timer",
    "nginx.service",
)
_numbers = itertools.count()


class Lan:
    """A router in a network namespace of its own; `plug` lays a cable to a machine."""

    def __init__(self) -> None:
        self.name = f"bhr{os.getpid()}n{next(_numbers)}"

    def __enter__(self) -> Lan:
        command.run(["ip", "netns", "add", self.name])
        return self

    def __exit__(self, *_: object) -> None:
        command.run(["ip", "netns", "del", self.name])

    def plug(self, init: int) -> None:
        """A new cable each time: the other end of an old one died with its machine."""
        here = ["ip", "-n", self.name]
        command.run([*here, "link", "add", "router", "type", "veth", "peer", "name", "ethbh0"])
        command.run([*here, "addr", "add", "192.0.2.1/24", "dev", "router"])
        command.run([*here, "link", "set", "router", "up"])
        command.run([*here, "link", "set", "ethbh0", "netns", str(init)])


class OnLan(Appliance):
    """A machine whose cable is plugged in as soon as its PID 1 lives."""

    lan: ClassVar[Lan]

    def _find_init(self) -> bool:
        found = super()._find_init()
        if found:
            self.lan.plug(self._init)
        return found


@pytest.fixture
def machine(appliance_root: Path) -> Iterator[Appliance]:
    with boot(appliance_root) as booted:
        yield booted


@contextlib.contextmanager
def boot(root: Path) -> Iterator[Appliance]:
    """The appliance on a LAN of its own, in its first boot."""
    files = {"/etc/systemd/network/80-blockhost-dhcp.network": UPLINK, "/etc/hostname": "host\n"}
    with Lan() as lan:
        OnLan.lan = lan
        with OnLan.boot(root, files=files) as booted:
            yield booted


def card(machine: Appliance) -> dict[str, str]:
    text = machine.run(["sh", "-c", "cd /usr/lib/blockhost && python3 -m installer.console --format json"])
    shown: dict[str, str] = json.loads(text)
    return shown


def apply(machine: Appliance, *more: str) -> str:
    """Set it up from an answers file over HTTPS, as a client on the machine itself."""
    text = machine.run(["sh", "-c", "cd /usr/lib/blockhost && python3 -m installer.console --once"])
    fingerprint = re.search(r"Fingerprint:\s+SHA256 (\S+)", text)
    code = re.search(r"Code:\s+(\S+)", text)
    assert fingerprint, text
    assert code, text
    answers = (TOP / "testing/answers/local-libvirt.yaml").read_text()
    machine.write_file(
        "/root/answers.yaml", answers.replace("../../build/run/owner-key", "/root/owner-key"), 0o600
    )
    argv = ["blockhost-setup", "apply", "/root/answers.yaml", "--generate-key", "--url", "https://127.0.0.1"]
    words = shlex.join([*argv, "--fingerprint", fingerprint[1], "--otp", code[1], *more])
    return machine.run(["sh", "-c", words], timeout=300)


def test_setup_ends_with_services_that_survive_a_reboot(machine: Appliance) -> None:
    machine.wait_for(lambda: machine.exists("/var/lib/blockhost/.step-otp"), "first boot", deadline_s=90)
    assert machine.failed_units() == []
    assert "192.0.2.10" in machine.run(["ip", "-4", "addr", "show", "dev", "br0"])
    said = apply(machine, "--finish", "reboot")
    assert "setup complete" in said, said
    machine.come_back()
    assert machine.exists("/var/lib/blockhost/.setup-complete")
    report = machine.read_file("/var/lib/blockhost/validation-output.txt")
    assert " 0 failed" in report, report

    for unit in SERVICES:
        machine.wait_for(lambda unit=unit: machine.is_active(unit), unit, deadline_s=60)
    assert machine.failed_units() == []
    assert "Small" in machine.run(["python3", "-c", FETCH])
    system, machines = ask_panel(machine, ("/api/system", None), ("/api/vms", None))
    assert (system["root_agent"], machines["vms"]) == (True, [])
    exported = yaml.safe_load(machine.run(["blockhost-setup", "export"]))
    given = yaml.safe_load((TOP / "testing/answers/local-libvirt.yaml").read_text())
    for section in ("network", "storage", "engine", "provisioner"):
        found = {name: exported[section][name] for name in given[section]}
        assert found == given[section]


@pytest.mark.parametrize("victim", ["power", "blockhost-worker.service", "blockhost-wizard.service"])
def test_run_goes_on_by_itself_after_a_death(machine: Appliance, victim: str) -> None:
    machine.wait_for(lambda: machine.exists("/var/lib/blockhost/.step-otp"), "first boot", deadline_s=90)
    apply(machine, "--no-wait")
    records = machine.path("/var/lib/blockhost-setup/finalize")
    machine.wait_for(lambda: [*records.glob("*/storage.done")], "three steps", deadline_s=60)
    if victim == "power":
        machine.power_cut()
    else:
        machine.run(["systemctl", "kill", "--signal=KILL", "--kill-whom=all", victim])
    done = "/var/lib/blockhost/.setup-complete"
    machine.wait_for(lambda: machine.exists(done), "the setup, by itself", deadline_s=120)
    assert " 0 failed" in machine.read_file("/var/lib/blockhost/validation-output.txt")
