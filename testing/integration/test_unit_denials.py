"""What each unit's sandbox lets through, tried from inside: the exact set, so both sides are held.

A door that opens unasked is a hole; one that closed would break the service.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from testing.integration.conftest import boot_installed
from testing.integration.nspawn import Appliance

pytestmark = [pytest.mark.nspawn, pytest.mark.timeout(900)]
PROBE = Path(__file__).with_name("sandbox_probe.py")

OPEN: dict[str, set[str]] = {
    "wizard": {"write-wizard-run"},
    "admin": {"write-state", "read-config", "agent-socket", "loopback", "netlink"},
    "root-agent": {
        "write-config", "write-nginx", "write-state", "write-run", "write-wizard-run", "write-log",
        "read-shadow", "read-config", "read-code", "read-vault", "agent-socket", "see-processes", "loopback",
        "bind-80", "netlink",
    },
    "worker": {
        "write-etc", "write-config", "write-nginx", "write-state", "write-setup", "write-run",
        "write-wizard-run", "write-log", "read-shadow", "read-config", "read-vault", "read-code",
        "agent-socket", "see-processes", "loopback", "network", "bind-80", "netlink", "raw", "sysctl",
        "writable-code",
    },
    "console@": {"write-run", "read-code", "read-config", "see-processes", "netlink"},
}  # fmt: skip


@pytest.fixture(scope="module")
def machine(installed_layers: list[Path]) -> Iterator[Appliance]:
    # bpf: what IPAddressDeny is made of; a container may not use it by default.
    with boot_installed(installed_layers, extra=["--system-call-filter=bpf"]) as machine:
        machine.wait_for(lambda: machine.is_active("blockhost-root-agent"))
        machine.write_file("/run/probe.py", PROBE.read_text())
        machine.run(["ip", "address", "add", "192.0.2.1/32", "dev", "lo"])
        machine.write_file("/etc/blockhost/probe-0640", "x", 0o640)
        machine.run(["chgrp", "blockhost", "/etc/blockhost/probe-0640"])
        machine.write_file("/var/lib/blockhost-setup/probe-vault", "x", 0o600)
        machine.write_file("/run/blockhost/probe-otp", "x", 0o600)
        yield machine


def opened(machine: Appliance, unit: str, name: str) -> set[str]:
    """Run the probe in the unit's sandbox: the unit itself, with another program."""
    kept = (
        "\n".join(
            line
            for line in unit.splitlines()
            if not re.match(r"Exec|Type=|Restart|Condition|Watchdog|Standard|TTY|After=|Wants=", line)
        ).replace("%I", "null")
        + "\n"
    )
    text = kept.replace(
        "[Service]\n",
        "[Service]\nType=oneshot\nExecStart=/usr/bin/python3 -I /run/probe.py\n"
        f"StandardOutput=file:/var/tmp/{name}\nStandardError=file:/var/tmp/{name}.why\n",
    )
    machine.write_file(f"/run/systemd/system/{name}.service", text)
    machine.run(["systemctl", "daemon-reload"])
    machine.run(["systemctl", "start", f"{name}.service"], timeout=60)
    lines = machine.read_file(f"/var/tmp/{name}").splitlines()
    assert lines[-1].startswith("tried ")
    assert int(lines[-1].split()[1]) > 30
    return set(lines[:-1])


@pytest.mark.parametrize("unit", sorted(OPEN))
def test_exactly_these_doors_are_open(unit: str, machine: Appliance) -> None:
    file = f"/usr/lib/systemd/system/blockhost-{unit}.service"
    found = opened(machine, machine.read_file(file), f"probe-{unit.strip('@')}")
    why = machine.read_file(f"/var/tmp/probe-{unit.strip('@')}.why")
    assert found == OPEN[unit], why


def test_without_a_sandbox_the_doors_are_open(machine: Appliance) -> None:
    """The control: the probe can see an open door."""
    found = opened(machine, "[Unit]\nDescription=bare\n[Service]\n", "probe-bare")
    assert {"write-usr", "write-etc", "mount", "sysctl", "writable-code", "network", "raw"} <= found
