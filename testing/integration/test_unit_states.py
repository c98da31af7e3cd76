"""The units on the very root file system that the ISO carries: first boot, restarts, kills, reboots."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from testing.integration.nspawn import Appliance

pytestmark = [pytest.mark.nspawn, pytest.mark.timeout(900)]

#: What a container cannot do, or what needs a network that this machine does not have.
NOT_HERE: frozenset[str] = frozenset()
FIRST_BOOT_S = 240
SERVICES = ("root-agent", "worker", "wizard")


@pytest.fixture(scope="module")
def fresh(appliance_root: list[Path]) -> Iterator[Appliance]:
    """A machine whose first boot has got to its code."""
    with Appliance.boot(appliance_root, ready="basic.target", wired=True) as machine:
        wait_for_wizard(machine)
        yield machine


def wait_for_wizard(machine: Appliance) -> None:
    machine.wait_for(
        lambda: (
            machine.exists("/run/blockhost/otp.json")
            and services_are_up(machine)
            and ask_wizard(machine) == "200"
        ),
        "wizard",
        deadline_s=FIRST_BOOT_S,
    )


def services_are_up(machine: Appliance) -> bool:
    return all(machine.is_active(f"blockhost-{name}") for name in SERVICES)


def ask_wizard(machine: Appliance) -> str:
    """The status line that a browser would get, through nginx and TLS."""
    done = machine.probe(["python3", "-I", "-c", _GET], timeout=20)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


_GET = """
import http.client, ssl
context = ssl._create_unverified_context()
connection = http.client.HTTPSConnection("127.0.0.1", 443, context=context, timeout=10)
connection.request("GET", "/login", headers={"Host": "127.0.0.1"})
print(connection.getresponse().status)
"""


def test_first_boot_ends_with_a_wizard_behind_tls(fresh: Appliance) -> None:
    assert ask_wizard(fresh) == "200"
    assert set(fresh.failed_units()) <= NOT_HERE
    for unit in ("blockhost-admin", "blockhost-console@tty1"):
        assert fresh.state(unit) == "inactive"


def test_only_nginx_listens_on_the_network(fresh: Appliance) -> None:
    """TCP sockets that are bound to more than loopback, by program."""
    text = fresh.run(["ss", "-Hltnp"])
    open_to_all = [line for line in text.splitlines() if not is_local(line.split()[3])]
    assert open_to_all, text
    # A --testing image was given an SSH key, and only therefore has sshd running.
    expected = ('"nginx"', '"sshd"') if fresh.exists("/root/.ssh/authorized_keys") else ('"nginx"',)
    assert [line for line in open_to_all if not any(name in line for name in expected)] == []


def is_local(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]").partition("%")[0]
    return host.startswith("127.") or host == "::1"


@pytest.mark.parametrize("name", [*SERVICES, "firstboot"])
def test_a_restart_empties_nobodys_folder(name: str, fresh: Appliance) -> None:
    marks = [f"/run/{folder}/kept" for folder in ("blockhost", "blockhost-setup", "blockhost-wizard")]
    for mark in marks:
        fresh.write_file(mark, "kept")
    before = fresh.read_file("/run/blockhost/otp.json")
    fresh.run(["systemctl", "restart", f"blockhost-{name}"], timeout=120)
    fresh.wait_for(lambda: services_are_up(fresh), f"services after a restart of {name}")
    for mark in marks:
        assert fresh.read_file(mark) == "kept"
    assert json.loads(fresh.read_file("/run/blockhost/otp.json"))["code"] == json.loads(before)["code"]
    for socket in ("blockhost/root-agent", "blockhost-setup/worker", "blockhost-wizard/wizard"):
        assert fresh.path(f"/run/{socket}.sock").is_socket()


@pytest.mark.parametrize("name", SERVICES)
def test_a_killed_service_comes_back(name: str, fresh: Appliance) -> None:
    unit = f"blockhost-{name}"
    fresh.wait_for(lambda: fresh.is_active(unit))
    before = fresh.property(unit, "MainPID")
    fresh.run(["kill", "-9", before])
    fresh.wait_for(
        lambda: fresh.is_active(unit) and fresh.property(unit, "MainPID") not in {before, "0"}, unit
    )
    fresh.wait_for(lambda: ask_wizard(fresh) == "200", "answer of the wizard")


def test_no_sandbox_stops_its_own_service(fresh: Appliance) -> None:
    """A filtered call or a read-only folder shows in the journal long before anybody misses it."""
    for name in (*SERVICES, "firstboot"):
        journal = fresh.journal(f"blockhost-{name}")
        for sign in ("Traceback", "Read-only file system", "Operation not permitted", "SIGSYS"):
            assert sign not in journal, journal[-3000:]


def test_sockets_belong_to_those_who_may_use_them(fresh: Appliance) -> None:
    sockets = ("blockhost/root-agent", "blockhost-setup/worker", "blockhost-wizard/wizard")
    text = fresh.run(["stat", "--format=%a %U:%G", *(f"/run/{name}.sock" for name in sockets)])
    assert text.splitlines() == [
        "660 root:blockhost",
        "660 root:blockhost-wizard",
        "660 blockhost-wizard:www-data",
    ]


def test_the_setup_is_over_after_a_reboot(appliance_root: list[Path]) -> None:
    """With the marker, nothing of the setup starts, and the terminals get their logins back."""
    files = {"/var/lib/blockhost/.setup-complete": ""}
    with Appliance.boot(appliance_root, files=files, ready="multi-user.target", wired=True) as machine:
        for name in ("firstboot", "worker", "wizard"):
            assert machine.state(f"blockhost-{name}") == "inactive"
        assert machine.is_active("blockhost-root-agent")
        assert machine.property("getty@tty1", "LoadState") == "loaded"
        condition = machine.run(["systemctl", "cat", "getty@tty1"])
        assert "ConditionPathExists=/var/lib/blockhost/.setup-complete" in condition


def test_an_unfinished_setup_starts_again_after_a_power_cut(appliance_root: list[Path]) -> None:
    with Appliance.boot(appliance_root, ready="basic.target", wired=True) as machine:
        wait_for_wizard(machine)
        done = sorted(path.name for path in machine.path("/var/lib/blockhost").glob(".step-*"))
        machine.power_cut()
        wait_for_wizard(machine)
        assert ask_wizard(machine) == "200"
        assert sorted(path.name for path in machine.path("/var/lib/blockhost").glob(".step-*")) == done
