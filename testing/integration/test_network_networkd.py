"""First boot on the root file system that the ISO carries, with real systemd and networkd and a DHCP
server beside it: the bridge keeps the lease, and keeps it after a power cut."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from testing.integration.nspawn import ROOT, Appliance

pytestmark = [pytest.mark.nspawn, pytest.mark.timeout(600)]

DHCPD = """\
interface r0
start 10.0.0.50
end 10.0.0.90
lease_file {place}/leases
pidfile {place}/pid
opt subnet 255.255.255.0
opt router 10.0.0.1
opt lease 3600
"""
#: The image's own file leaves virtual cards alone; here the card is one end of a veth pair.
CARD = """\
[Match]
Name=eth0
[Network]
DHCP=yes
LinkLocalAddressing=yes
[DHCPv4]
ClientIdentifier=mac
"""


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def network(place: Path) -> Iterator[tuple[str, str]]:
    """A namespace for the machine and one for its router, which leases addresses."""
    tag = secrets.token_hex(3)
    host, router = f"bh-{tag}-m", f"bh-{tag}-r"
    (place / "leases").touch()
    (place / "udhcpd.conf").write_text(DHCPD.format(place=place))
    server = None
    try:
        for name in (host, router):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", host, "link", "add", "eth0", "type", "veth", "peer", "name", "r0", "netns", router)
        ip("-n", router, "addr", "add", "10.0.0.1/24", "dev", "r0")
        ip("-n", router, "link", "set", "r0", "up")
        server = subprocess.Popen(
            ["ip", "netns", "exec", router, "busybox", "udhcpd", "-f", str(place / "udhcpd.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        yield host, router
    finally:
        if server is not None:
            server.terminate()
            server.wait()
        for name in (host, router):
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)


def leased(machine: Appliance, device: str) -> list[str]:
    done = machine.probe(["ip", "-j", "-4", "addr", "show", "dev", device])
    links = [link for link in json.loads(done.stdout or "[]") if link]
    return [address["local"] for link in links for address in link["addr_info"]]


def test_the_bridge_keeps_the_lease_and_survives_a_power_cut(
    appliance_root: Sequence[Path], tmp_path: Path
) -> None:
    with network(tmp_path) as (host, router):
        options = [f"--network-namespace-path=/run/netns/{host}", "--capability=CAP_NET_ADMIN"]
        files = {"/etc/systemd/network/79-test.network": CARD}
        # The code under test is this tree's, whenever the image was built.
        binds = {ROOT / "installer": "/usr/lib/blockhost/installer"}
        with Appliance.boot(appliance_root, files=files, binds=binds, extra=options) as machine:
            machine.wait_for(
                lambda: machine.exists("/var/lib/blockhost/.step-otp"), "the code", deadline_s=120
            )
            log = machine.read_file("/var/log/blockhost-firstboot.log")
            for marker in ("network-wait", "packages", "bridge", "network", "tls", "setup-site"):
                assert machine.exists(f"/var/lib/blockhost/.step-{marker}"), log
            assert leased(machine, "eth0") == []
            (address,) = leased(machine, "br0")
            assert machine.read_file("/run/blockhost/bridge") == "br0\n"
            assert reaches(router, address)

            code = json.loads(machine.read_file("/run/blockhost/otp.json"))["code"]
            card = machine.run(["sh", "-c", "cd /usr/lib/blockhost && python3 -m installer.console --once"])
            assert f"Address:     https://{address}/\n" in card
            assert f"Code:        {code[:4]}-{code[4:]}\n" in card
            assert code not in log

            machine.power_cut()
            machine.wait_for(lambda: leased(machine, "br0") == [address], "the same lease", deadline_s=60)
            assert leased(machine, "eth0") == []
            assert reaches(router, address)
            machine.wait_for(lambda: machine.exists("/run/blockhost/otp.json"), "a new code", deadline_s=120)
            again = json.loads(machine.read_file("/run/blockhost/otp.json"))["code"]
            assert again != code


#: Runs one of the network page's functions in the machine: module function as Python.
CALL = "import json; from installer.network import address as a; print(json.dumps({}))"


def call(machine: Appliance, expression: str) -> object:
    code = CALL.format(expression)
    answer = machine.run(["sh", "-c", 'cd /usr/lib/blockhost && exec python3 -c "$0"', code], timeout=90)
    return json.loads(answer)


def apply(machine: Appliance, **form: str) -> object:
    return call(machine, f"(s := a.apply_answer(a.parse_fields({form!r}))) and s.address")


def test_addresses_change_there_and_back_under_networkd(
    appliance_root: Sequence[Path], tmp_path: Path
) -> None:
    with network(tmp_path) as (host, router):
        options = [f"--network-namespace-path=/run/netns/{host}", "--capability=CAP_NET_ADMIN"]
        files = {"/etc/systemd/network/79-test.network": CARD}
        binds = {ROOT / "installer": "/usr/lib/blockhost/installer"}
        with Appliance.boot(
            appliance_root, files=files, binds=binds, extra=options, without=["blockhost-firstboot.service"]
        ) as machine:
            machine.wait_for(lambda: leased(machine, "eth0"), "a lease", deadline_s=60)
            (lease,) = leased(machine, "eth0")
            timer = "blockhost-network-revert.timer"

            static = {"method": "static", "address": "10.0.0.200/24", "gateway": "10.0.0.1"}
            assert apply(machine, **static) == "10.0.0.200"
            assert machine.is_active(timer), "nobody takes it back if we die now"
            assert reaches(router, lease)
            assert reaches(router, "10.0.0.200")
            machine.run(["systemctl", "start", "blockhost-network-revert.service"])
            machine.wait_for(lambda: leased(machine, "eth0") == [lease], "the timer's own command")

            assert apply(machine, **static) == "10.0.0.200"
            assert call(machine, "a.confirm()") is True
            assert not machine.is_active(timer)
            machine.wait_for(lambda: leased(machine, "eth0") == ["10.0.0.200"], "the static address alone")
            assert reaches(router, "10.0.0.200")

            assert apply(machine, method="dhcp", interface="eth0") == lease
            assert call(machine, "a.confirm()") is True
            machine.wait_for(lambda: leased(machine, "eth0") == [lease], "the lease again")
            machine.power_cut()
            machine.wait_for(lambda: leased(machine, "eth0") == [lease], "the lease at the next boot")


def reaches(namespace: str, address: str) -> bool:
    argv = ["ip", "netns", "exec", namespace, "ping", "-n", "-c", "1", "-W", "3", address]
    return subprocess.run(argv, check=False, stdout=subprocess.DEVNULL).returncode == 0
