"""The firewall on the ISO's own root file system: from before there is a network, through restarts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from testing.integration.nspawn import ROUTER, Appliance
from testing.integration.outside import at_router, is_open, listen

pytestmark = [pytest.mark.nspawn, pytest.mark.timeout(600)]

UNIT = "blockhost-firewall"


@pytest.fixture(scope="module")
def machine(appliance_root: list[Path]) -> Iterator[Appliance]:
    without = ["blockhost-firstboot.service"]
    # bpf: what IPAddressDeny is made of; a container may not use it by default.
    extra = ["--system-call-filter=bpf"]
    with Appliance.boot(appliance_root, wired=True, without=without, extra=extra) as machine:
        listen(machine, 8080, 4444)
        yield machine


@pytest.fixture(scope="module", autouse=True)
def begun(machine: Appliance) -> tuple[int, int]:
    """When the firewall stood and when the network began, read before any test restarts either."""
    stood = int(machine.property(UNIT, "ActiveEnterTimestampMonotonic"))
    return stood, int(machine.property("systemd-networkd", "InactiveExitTimestampMonotonic"))


def test_it_stands_before_there_is_a_network(machine: Appliance, begun: tuple[int, int]) -> None:
    assert machine.is_active(UNIT)
    assert machine.run(["systemctl", "is-enabled", UNIT]).strip() == "enabled"
    stood, network = begun
    assert 0 < stood <= network
    assert "policy drop" in machine.run(["nft", "list", "chain", "inet", "blockhost", "input"])
    assert not is_open(machine, 8080)
    assert not is_open(machine, 4444)


def test_sshd_is_reached_exactly_while_it_runs(machine: Appliance) -> None:
    machine.run(["systemctl", "stop", "ssh"])
    assert not is_open(machine, 22)
    machine.run(["systemctl", "start", "ssh"])
    assert is_open(machine, 22)
    machine.run(["systemctl", "restart", UNIT])
    assert is_open(machine, 22)
    machine.run(["nft", "flush", "ruleset"])
    assert is_open(machine, 8080)  # the control: it is the firewall that closes it
    machine.run(["systemctl", "restart", UNIT])
    assert is_open(machine, 22)
    assert not is_open(machine, 8080)
    machine.run(["systemctl", "stop", "ssh"])
    assert "elements" not in machine.run(["nft", "list", "set", "inet", "blockhost", "ssh_tcp"])


def test_the_agent_opens_ports_through_its_sandbox(machine: Appliance) -> None:
    call = ["blockhost-agent", "call"]
    opening = [*call, "iptables-open", "port=4444", "proto=tcp", "comment=test", "duration=600"]
    machine.run(opening, user="blockhost")
    assert is_open(machine, 4444)
    machine.run(["systemctl", "restart", "blockhost-root-agent"])
    assert is_open(machine, 4444)
    machine.run([*call, "iptables-close", "port=4444", "proto=tcp"], user="blockhost")
    assert not is_open(machine, 4444)
    machine.run(["nft", "flush", "ruleset"])
    machine.run(opening, user="blockhost")  # it has the rules loaded again, by systemd
    assert is_open(machine, 4444)
    assert not is_open(machine, 8080)


def test_a_reboot_closes_what_was_opened_for_a_while(machine: Appliance) -> None:
    machine.reboot()
    listen(machine, 8080, 4444)
    assert machine.is_active(UNIT)
    assert not is_open(machine, 4444)
    assert machine.failed_units() == []


def test_the_name_is_announced(machine: Appliance) -> None:
    """avahi answers for NAME.local: asked by multicast, as a browser's machine does."""
    name = machine.run(["hostname"]).strip()
    labels = b"".join(bytes([len(part)]) + part.encode() for part in (name, "local"))
    query = bytes.fromhex("000000000001000000000000") + labels + bytes.fromhex("0000010001")
    script = (
        "import socket, sys\n"
        "u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(2)\n"
        f"u.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton({ROUTER!r}))\n"
        f"u.sendto(bytes.fromhex('{query.hex()}'), ('224.0.0.251', 5353))\n"
        "assert u.recv(1000)\n"
    )
    machine.wait_for(lambda: at_router(machine, script).returncode == 0, "name")
