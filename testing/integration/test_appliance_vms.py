"""After the setup, in the ISO's own root file system: a machine through the sandboxed agent, and the panel.

Everything is done as user `blockhost`, whom libvirt itself refuses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from testing.integration.nspawn import Appliance
from testing.integration.panel_login import ask_panel
from testing.integration.test_appliance_setup import apply, boot

pytestmark = [pytest.mark.nspawn, pytest.mark.timeout(1200)]

OWNER = "SHA256:" + "a" * 43
#: What a container has not, and a machine has: a writable /sys (file system and mount are both
#: read-only at first), by which libvirt isolates a port, and cgroups that libvirt may divide.
AS_ON_A_MACHINE = """set -e
mkdir -p /run/sysfs
mount -t sysfs sysfs /run/sysfs
mount -o remount,rw /run/sysfs
mount -o remount,bind,rw /sys/devices
umount /run/sysfs
echo 'cgroup_controllers = [ ]' >> /etc/libvirt/qemu.conf
systemctl restart libvirtd.service
"""


@pytest.fixture(scope="module")
def machine(appliance_root: list[Path]) -> Iterator[Appliance]:
    with boot(appliance_root) as booted:
        booted.wait_for(lambda: booted.exists("/var/lib/blockhost/.step-otp"), "first boot", deadline_s=90)
        assert "setup complete" in apply(booted)
        booted.run(["sh", "-c", AS_ON_A_MACHINE])
        yield booted


def as_service(machine: Appliance, *words: str, timeout: float = 120) -> str:
    return machine.run(["runuser", "-u", "blockhost", "--", *words], timeout=timeout)


def test_services_reach_libvirt_by_no_other_way(machine: Appliance) -> None:
    assert "libvirt" not in machine.run(["id", "-nG", "blockhost"]).split()
    refused = "runuser -u blockhost -- virsh -q -c qemu:///system list 2>&1; true"
    assert "error: failed to connect" in machine.run(["sh", "-c", refused])


def test_machine_is_made_and_removed_by_a_service(machine: Appliance) -> None:
    options = ["--owner-wallet", OWNER, "--memory", "384", "--disk", "4", "--apply"]
    made = as_service(machine, "blockhost-vm-create", "blockhost-001", *options, timeout=600)
    answer = json.loads(made)  # its guest has booted, and answers
    assert answer["status"] == "ok"
    assert answer["ip"] == "10.77.0.100"
    assert as_service(machine, "blockhost-vm-status", "blockhost-001") == "active\n"
    assert "running" in machine.run(["virsh", "-q", "list"])
    assert "isolated on" in machine.run(["bridge", "-d", "link", "show"])
    assert "ip saddr != 10.77.0.100 drop" in machine.run(["nft", "list", "table", "bridge", "blockhost_vms"])
    (row,) = json.loads(as_service(machine, "blockhost-vm-list", "--format", "json", "--metrics"))
    assert (row["name"], row["status"]) == ("blockhost-001", "active")
    assert row["metrics"]["guest_agent_responsive"] is True
    inside = ["blockhost-vm-guest-exec", "blockhost-001", "exit 3"]
    assert machine.probe(["runuser", "-u", "blockhost", "--", *inside]).code == 3
    as_service(machine, "blockhost-vm-throttle", "blockhost-001", "--bandwidth-out", "8000")
    assert "limit rate over" in machine.run(["nft", "list", "table", "bridge", "blockhost_vms"])
    assert machine.is_active("blockhost-vm-gc.timer")
    machine.run(["systemctl", "start", "blockhost-vm-gc.service"])
    as_service(machine, "blockhost-vm-destroy", "blockhost-001")
    assert machine.run(["virsh", "-q", "list", "--all"]).strip() == ""
    assert "blockhost-001" not in machine.run(["ls", "/var/lib/libvirt/images/blockhost"])


def test_agents_sandbox_lets_every_action_work(machine: Appliance) -> None:
    def call(action: str, *params: str) -> str:
        return as_service(machine, "blockhost-agent", "call", action, *params)

    call("ip6-route-add", "address=2001:db8:77::9/128", "dev=br0")
    assert "2001:db8:77::9" in machine.run(["ip", "-6", "route", "show", "dev", "br0"])
    call("ip6-route-del", "address=2001:db8:77::9/128", "dev=br0")
    call("iptables-open", "port=2222", "proto=tcp", "comment=test")
    assert "2222" in machine.run(["nft", "list", "set", "inet", "blockhost", "open_tcp"])
    call("iptables-close", "port=2222", "proto=tcp")
    call("hostname-set", "name=renamed")
    assert machine.read_file("/etc/hostname").strip() == "renamed"
    assert "entries, head" in machine.run(["blockhost-agent", "log", "verify"])


def test_operator_logs_in_and_moves_the_panel(machine: Appliance) -> None:
    machine.wait_for(lambda: machine.is_active("blockhost-admin.service"), "the panel", deadline_s=60)
    facts, *done = ask_panel(
        machine,
        ("/api/system", None),
        ("/api/system/hostname", {"hostname": "panel"}),
        ("/api/admin/path", {"path_prefix": "/ops"}),
        address="192.0.2.10",
    )
    assert facts["root_agent"] is True
    assert done == [{"ok": True}] * 2
    assert json.loads(machine.read_file("/etc/blockhost/admin.json")) == {"path_prefix": "/ops"}
    (again,) = ask_panel(machine, ("/api/system", None), address="192.0.2.10", prefix="/ops")
    assert again["root_agent"] is True
