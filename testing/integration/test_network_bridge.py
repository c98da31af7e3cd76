"""The bridge as a transaction, in real network namespaces: a host, a router, a wire between them.

Each test makes two namespaces of its own and touches nothing outside them. networkd is not there:
its programs are stand-ins that say so. Needs root.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from testing.integration.wire import IP, KILLER, Wire, silence, wait_until


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    wire = Wire(tmp_path)
    try:
        wire.create()
        yield wire
    finally:
        wire.destroy()


@pytest.fixture
def simple(wire: Wire) -> Wire:
    """One static address and a living gateway."""
    wire.on_router("addr add 10.0.0.1/24 dev r0")
    wire.on_host("addr add 10.0.0.9/24 dev eth0")
    wire.on_host("route add default via 10.0.0.1 dev eth0")
    return wire


@pytest.fixture
def rich(wire: Wire) -> Wire:
    """Two addresses, IPv6, metrics, a table of its own, a label: all that has to move."""
    wire.on_router("addr add 10.0.0.1/24 dev r0")
    wire.on_router("addr add 10.0.5.1/24 dev r0")
    wire.on_router("addr add fd00::1/64 dev r0")
    wire.on_host("addr add 10.0.0.9/24 broadcast + dev eth0")
    wire.on_host("addr add 10.0.0.10/24 dev eth0")
    wire.on_host("addr add 10.0.5.9/24 dev eth0 metric 300 label eth0:x")
    wire.on_host("addr add fd00::9/64 dev eth0")
    wire.on_host("addr add fd00::10/64 dev eth0")
    wire.on_host("route add default via 10.0.0.1 dev eth0 src 10.0.0.9 metric 150")
    wire.on_host("route add 172.16.0.0/16 via 10.0.5.1 dev eth0 mtu 1400 table 100")
    wire.on_host("route add 192.168.7.0/24 dev eth0 scope link metric 7")
    wire.on_host("-6 route add default via fd00::1 dev eth0 metric 512 pref high")
    wire.on_host("-6 route add 2001:db8::/32 via fd00::1 dev eth0 src fd00::9")
    return wire


def test_everything_moves_to_the_bridge(rich: Wire) -> None:
    mac = rich.show(rich.host, "link", "show", "dev", "eth0")[0]["address"]
    addresses = rich.addresses("eth0")
    routes = {
        family: rich.show(rich.host, family, "route", "show", "table", "all", "dev", "eth0")
        for family in ("-4", "-6")
    }

    assert rich.call("bridge:ensure_bridge") == {"answer": "br0"}

    bridge = rich.show(rich.host, "-d", "link", "show", "dev", "br0")[0]
    assert bridge["address"] == mac
    assert rich.show(rich.host, "link", "show", "dev", "eth0")[0]["master"] == "br0"
    assert sorted(rich.addresses("br0")) == sorted(addresses)
    assert rich.addresses("eth0") == []
    for family, before in routes.items():
        made = [route for route in before if route.get("protocol") != "kernel"]
        after = rich.show(rich.host, family, "route", "show", "table", "all", "dev", "br0")
        assert [route for route in made if route not in after] == []
    for address in ("10.0.0.9", "10.0.0.10", "10.0.5.9", "fd00::9", "fd00::10"):
        assert rich.reaches(address)
    assert rich.file("/run/blockhost/bridge").read_text() == "br0\n"
    assert not rich.file("/var/lib/blockhost/network-change.json").exists()


def test_duplicate_address_detection_is_waited_for(rich: Wire) -> None:
    for name in ("all", "default", "eth0"):
        rich.sysctl(rich.host, f"net.ipv6.conf.{name}.accept_dad=1")
    assert rich.call("bridge:ensure_bridge") == {"answer": "br0"}
    assert rich.show(rich.host, "-6", "route", "show", "2001:db8::/32")[0]["prefsrc"] == "fd00::9"


def test_a_second_run_changes_nothing(rich: Wire) -> None:
    rich.call("bridge:ensure_bridge")
    before = rich.picture()
    files = {path: path.stat().st_mtime_ns for path in rich.file("/etc/systemd/network").iterdir()}
    assert rich.call("bridge:ensure_bridge") == {"answer": "br0"}
    assert rich.picture() == before
    assert {path: path.stat().st_mtime_ns for path in rich.file("/etc/systemd/network").iterdir()} == files
    assert rich.log.read_text() == ""


def test_files_for_the_next_boot_say_the_same(rich: Wire) -> None:
    rich.call("bridge:ensure_bridge")
    text = rich.file("/etc/systemd/network/50-blockhost-br0.network").read_text()
    for line in (
        "DHCP=no",
        "Address=10.0.0.9/24",
        "Address=10.0.5.9/24\nRouteMetric=300",
        "Address=fd00::10/64",
        "Gateway=10.0.0.1\nMetric=150",
        "Destination=172.16.0.0/16\nTable=100",
    ):
        assert line in text
    assert "Bridge=br0" in rich.file("/etc/systemd/network/50-blockhost-uplink.network").read_text()


def test_a_lease_stays_a_lease(wire: Wire) -> None:
    wire.on_router("addr add 10.0.0.1/24 dev r0")
    wire.on_host("addr add 10.0.0.9/24 dev eth0 valid_lft 3600 preferred_lft 1800")
    wire.on_host("route add default via 10.0.0.1 dev eth0 proto dhcp src 10.0.0.9 metric 77")
    assert wire.call("bridge:ensure_bridge") == {"answer": "br0"}
    lease = wire.show(wire.host, "-4", "addr", "show", "dev", "br0")[0]["addr_info"][0]
    assert 3500 < lease["valid_life_time"] <= 3600
    text = wire.file("/etc/systemd/network/50-blockhost-br0.network").read_text()
    assert "DHCP=yes" in text
    assert "ClientIdentifier=mac" in text
    assert "RouteMetric=77" in text
    assert "Address=" not in text


def test_a_gateway_dead_from_the_start_changes_nothing(rich: Wire) -> None:
    silence(rich)
    before = rich.picture()
    answer = rich.call("bridge:ensure_bridge")
    assert answer is not None
    assert "10.0.0.1" in answer["error"]
    assert answer["hint"]
    assert rich.picture() == before
    assert not rich.file("/etc/systemd/network").exists()


@pytest.mark.parametrize("dad", ["0", "1"])
def test_a_gateway_that_dies_in_the_move_puts_everything_back(rich: Wire, dad: str) -> None:
    for name in ("all", "default", "eth0"):
        rich.sysctl(rich.host, f"net.ipv6.conf.{name}.accept_dad={dad}")
    # The moment the NIC becomes a port, the router falls silent.
    rules = "table netdev silent { chain in { type filter hook ingress device r0 priority 0; drop; }; }"
    rich.program(
        "ip",
        KILLER.replace(
            'case "$1"',
            f'case "$*" in *master*) {IP} netns exec {rich.router} nft \'{rules}\' ;; esac\ncase "$1"',
        ),
    )
    before = rich.picture()
    answer = rich.call("bridge:ensure_bridge")
    assert answer is not None
    assert "does not answer through br0" in answer["error"]
    wait_until(lambda: "tentative" not in json.dumps(rich.picture()))
    assert rich.picture() == before
    assert (
        not list(rich.file("/etc/systemd/network").glob("*"))
        if rich.file("/etc/systemd/network").exists()
        else True
    )
    assert not rich.file("/var/lib/blockhost/network-change.json").exists()
    assert not rich.file("/run/blockhost/bridge").exists()


def test_a_gateway_that_blocks_icmp_counts_as_alive(simple: Wire) -> None:
    simple.firewall(
        "table inet f { chain in { type filter hook input priority 0; ip protocol icmp drop; }; }"
    )
    assert not simple_ping(simple)
    assert simple.call("bridge:ensure_bridge") == {"answer": "br0"}


def test_a_gateway_entered_by_hand_must_answer_a_ping(simple: Wire) -> None:
    """A permanent neighbour proves nothing: with the router silent, only ping tells."""
    mac = simple.show(simple.router, "link", "show", "dev", "r0")[0]["address"]
    simple.on_host(f"neigh replace 10.0.0.1 lladdr {mac} dev eth0 nud permanent")
    silence(simple)
    answer = simple.call("bridge:ensure_bridge")
    assert answer is not None
    assert "does not answer" in answer["error"]


def test_an_ipv6_only_network_is_enough(wire: Wire) -> None:
    wire.on_router("addr add fe80::1/64 dev r0")
    wire.on_router("addr add fd00::1/64 dev r0")
    wire.on_host("addr add fd00::9/64 dev eth0")
    wire.on_host("-6 route add default via fe80::1 dev eth0 proto ra metric 1024 expires 600")
    assert wire.call("bridge:ensure_bridge") == {"answer": "br0"}
    assert wire.reaches("fd00::9")
    assert wire.show(wire.host, "-6", "route", "show", "default")[0]["dev"] == "br0"


def test_a_route_that_an_advertisement_brought_first_is_no_obstacle(wire: Wire) -> None:
    """The kernel reads advertisements on the new bridge while we still move addresses to it."""
    wire.on_router("addr add fe80::1/64 dev r0")
    wire.on_router("addr add fd00::1/64 dev r0")
    wire.on_host("addr add fd00::9/64 dev eth0")
    wire.on_host("-6 route add default via fe80::1 dev eth0 proto ra metric 1024 expires 600")
    quicker = f"{IP} -6 route add default via fe80::1 dev br0 proto ra metric 1024 expires 900"
    wire.program(
        "ip", KILLER.replace("code=$?", f'code=$?\n[ "$*" = "link set dev br0 up" ] && {quicker}', 1)
    )
    assert wire.call("bridge:ensure_bridge") == {"answer": "br0"}
    assert wire.reaches("fd00::9")


def test_no_default_route_is_said_and_nothing_happens(wire: Wire) -> None:
    wire.on_host("addr add 169.254.7.7/16 dev eth0 scope link")
    before = wire.picture()
    answer = wire.call("bridge:ensure_bridge")
    assert answer is not None
    assert "no default route" in answer["error"]
    assert wire.picture() == before


def test_the_card_of_the_best_default_route_is_taken(simple: Wire) -> None:
    """A second card is left alone, though its name comes first and it has a worse default route."""
    simple.on_host("link add eno0 type veth peer name r1 netns", simple.router)
    simple.on_router("link set r1 up")
    simple.on_host("link set eno0 up")
    simple.on_host("addr add 10.9.0.9/24 dev eno0")
    simple.on_host("route add default via 10.9.0.1 dev eno0 metric 900")
    before = simple.show(simple.host, "addr", "show", "dev", "eno0")
    assert simple.call("bridge:ensure_bridge") == {"answer": "br0"}
    assert simple.show(simple.host, "addr", "show", "dev", "eno0") == before
    assert simple.show(simple.host, "link", "show", "dev", "eth0")[0]["master"] == "br0"
    assert any(route["dev"] == "eno0" for route in simple.default_routes())


def test_a_wireless_card_is_refused(simple: Wire) -> None:
    simple.file("/sys/class/net/eth0/phy80211").mkdir(parents=True)
    before = simple.picture()
    answer = simple.call("bridge:ensure_bridge")
    assert answer is not None
    assert "wireless" in answer["error"]
    assert simple.picture() == before


def test_a_bridge_that_is_there_is_used(simple: Wire) -> None:
    simple.on_host("link add vmbr0 type bridge")
    simple.on_host("addr add 10.3.0.1/24 dev vmbr0")
    before = simple.picture()
    assert simple.call("bridge:ensure_bridge") == {"answer": "vmbr0"}
    assert simple.picture() == before
    assert simple.file("/run/blockhost/bridge").read_text() == "vmbr0\n"


def test_a_bridge_for_nat_inside_the_machine_does_not_count(simple: Wire) -> None:
    simple.on_host("link add virbr0 type bridge")
    simple.on_host("addr add 192.168.122.1/24 dev virbr0")
    assert simple.call("bridge:ensure_bridge") == {"answer": "br0"}


def test_a_managed_bridge_is_left_alone(simple: Wire) -> None:
    simple.file("/etc/blockhost").mkdir(parents=True)
    simple.file("/etc/blockhost/bridge-managed").write_text("vmbr7\n")
    before = simple.picture()
    assert simple.call("bridge:ensure_bridge") == {"answer": "vmbr7"}
    assert simple.picture() == before


def test_networkd_that_loses_the_address_puts_everything_back(simple: Wire) -> None:
    """The last danger: the files are written, networkd reloads, and the host is gone."""
    simple.program("systemctl", "#!/bin/sh\nexit 0\n")
    simple.program(
        "networkctl",
        f"#!/bin/sh\n[ -e {simple.root}/once ] && exit 0\ntouch {simple.root}/once\n"
        f"{IP} netns exec {simple.router} nft "
        "'table netdev silent { chain in { type filter hook ingress device r0 priority 0; drop; }; }'\n",
    )
    before = simple.picture()
    answer = simple.call("bridge:ensure_bridge")
    assert answer is not None
    assert "does not answer" in answer["error"]
    assert simple.picture() == before
    assert list(simple.file("/etc/systemd/network").iterdir()) == []


def crash_points(wire: Wire, variable: str) -> Iterator[int]:
    """Kill the change after its 1st, 2nd, … point, until it gets through."""
    number = 0
    while True:
        number += 1
        if wire.call("bridge:ensure_bridge", **{variable: str(number)}) is not None:
            return
        yield number


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("variable", "least"), [("KILL_IP", 15), ("KILL_RENAME", 6)])
def test_a_crash_anywhere_leaves_the_host_reachable(rich: Wire, variable: str, least: int) -> None:
    before = rich.picture()
    points = 0
    for number in crash_points(rich, variable):
        points = number
        names = {path.name for path in rich.file("/etc/systemd/network").glob("50-*")}
        assert "50-blockhost-uplink.network" not in names or len(names) == 3, "a power cut here boots lame"
        assert "error" not in (rich.call("bridge:recover") or {"error": "killed"})
        for address in ("10.0.0.9", "10.0.5.9", "fd00::9"):
            assert rich.reaches(address), f"unreachable after a crash at point {number} and a restart"
        if "br0" not in {link["ifname"] for link in rich.show(rich.host, "link")}:
            assert rich.picture() == before
        put_back(rich)
        assert rich.picture() == before
    print(f"{points} crash points of {variable}")
    assert points >= least
    assert rich.reaches("10.0.0.9")


def put_back(wire: Wire) -> None:
    """Undo a finished bridge by hand, for the next crash point."""
    if not wire.show(wire.host, "link", "show", "type", "bridge"):
        return
    wire.on_host("link del br0")
    for path in wire.file("/etc/systemd/network").iterdir():
        path.unlink()
    for words in (
        "addr add 10.0.0.9/24 broadcast + dev eth0",
        "addr add 10.0.0.10/24 dev eth0",
        "addr add 10.0.5.9/24 dev eth0 metric 300 label eth0:x",
        "addr add fd00::9/64 dev eth0",
        "addr add fd00::10/64 dev eth0",
        "route add default via 10.0.0.1 dev eth0 src 10.0.0.9 metric 150",
        "route add 172.16.0.0/16 via 10.0.5.1 dev eth0 mtu 1400 table 100",
        "route add 192.168.7.0/24 dev eth0 scope link metric 7",
        "-6 route add default via fd00::1 dev eth0 metric 512 pref high",
        "-6 route add 2001:db8::/32 via fd00::1 dev eth0 src fd00::9",
    ):
        wire.on_host(words)


def simple_ping(wire: Wire) -> bool:
    done = subprocess.run(
        [IP, "netns", "exec", wire.host, "ping", "-n", "-c", "1", "-W", "1", "10.0.0.1"],
        check=False,
        stdout=subprocess.DEVNULL,
    )
    return done.returncode == 0


def test_a_route_that_the_bridge_learns_by_itself_is_no_obstacle(wire: Wire) -> None:
    """networkd notes a prefix in its own words; the kernel has its own for the same way."""
    wire.on_router("addr add 10.0.0.1/24 dev r0")
    wire.on_host("addr add 10.0.0.9/24 dev eth0")
    wire.on_host("route add default via 10.0.0.1 dev eth0")
    wire.on_host("addr add fd00::9/64 dev eth0 noprefixroute")
    wire.on_host("-6 route add fd00::/64 dev eth0 proto ra metric 256 expires 600")
    wire.on_host("addr add fd00::a/64 dev eth0")
    wire.call("bridge:ensure_bridge")
    assert wire.reaches("10.0.0.1")
    assert "fd00::9/64" in wire.addresses("br0")


def test_the_bridge_reads_advertisements_as_the_card_did(simple: Wire) -> None:
    simple.sysctl(simple.host, "net.ipv6.conf.eth0.accept_ra=0")
    simple.call("bridge:ensure_bridge")
    found = subprocess.run(
        [IP, "netns", "exec", simple.host, "sysctl", "-n", "net.ipv6.conf.br0.accept_ra"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.strip() == "0"
