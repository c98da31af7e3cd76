"""The filter of a machine's port, in namespaces in place of machines: forged frames do not pass.

The same frames as from a real guest in testing/vms, in seconds and without QEMU.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockhost.provisioner_libvirt import port_filter
from blockhost.provisioner_libvirt.port import Port

TOOLS = Path(__file__).resolve().parents[3] / "testing/vms"
PORT = Port("52:54:0a:0b:0c:0d", "10.99.0.10", "2001:db8:99::10")
VICTIM = Port("52:54:0a:0b:0c:0e", "10.99.0.11", "2001:db8:99::11")
GATEWAY, GATEWAY6 = "10.99.0.1", "2001:db8:99::1"
HOST_MAC = "52:54:ff:00:00:01"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces")


class Bridge:
    """A host with a bridge, and a guest whose cable has the tap's name on the host's side."""

    def __init__(self, name: str) -> None:
        self.host, self.guest = f"{name}h", f"{name}g"

    def run(self, place: str, *words: str, stdin: str = "") -> str:
        argv = ["ip", "netns", "exec", place, *words]
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def build(self) -> None:
        for line in (
            f"link add br0 address {HOST_MAC} type bridge",
            "link set br0 up",
            f"address add {GATEWAY}/24 dev br0",
            f"link add {PORT.tap} type veth peer name lan0 address {PORT.mac} netns {self.guest}",
            f"link set {PORT.tap} master br0 up",
        ):
            self.run(self.host, "ip", *line.split())
        for line in (
            "link set lan0 up",
            f"address add {PORT.ipv4}/24 dev lan0",
            f"-6 address add {PORT.ipv6}/128 dev lan0 nodad",
        ):
            self.run(self.guest, "ip", *line.split())

    def apply(self, text: str) -> None:
        self.run(self.host, "nft", "-f", "-", stdin=text)

    def forge(self) -> tuple[set[str], set[str]]:
        """Names of the frames that the host saw, and of all that were sent."""
        watch = ["ip", "netns", "exec", self.host, "/usr/bin/python3", str(TOOLS / "watch.py"), "br0"]
        with subprocess.Popen(watch, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as watcher:
            assert watcher.stdout is not None
            assert watcher.stdout.readline() == "ready\n"
            sent = self.run(
                self.guest, "/usr/bin/python3", str(TOOLS / "spoof.py"), "lan0", VICTIM.mac,
                GATEWAY, VICTIM.ipv4, GATEWAY6, VICTIM.ipv6, HOST_MAC,
            )  # fmt: skip
            time.sleep(0.3)  # nothing says that a frame will *not* come
            seen, _ = watcher.communicate(timeout=10)
        return set(seen.split()), set(sent.split())


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    made = Bridge(f"bhf{os.getpid()}")
    with contextlib.ExitStack() as stack:
        for place in (made.host, made.guest):
            subprocess.run(["ip", "netns", "add", place], check=True)
            stack.callback(subprocess.run, ["ip", "netns", "del", place], check=True)
        made.build()
        settle(made)
        yield made


def settle(made: Bridge) -> None:
    """Until the guest's link-local address can be used."""
    deadline = time.monotonic() + 20
    while "tentative" in (text := made.run(made.guest, "ip", "-6", "address", "show", "lan0")) or (
        "fe80" not in text
    ):
        assert time.monotonic() < deadline, text
        time.sleep(0.05)
    assert PORT.link_local in text


def test_only_own_frames_pass(bridge: Bridge) -> None:
    bridge.apply(port_filter.rules(PORT))
    seen, sent = bridge.forge()
    own = {name for name in sent if name.startswith("own-")}
    assert len(sent - own) >= 22
    assert seen == own


def test_without_rules_they_would_all_be_seen(bridge: Bridge) -> None:
    seen, sent = bridge.forge()
    assert len(sent - seen) <= 2  # a bridge itself keeps some to itself


def test_tap_without_a_chain_passes_nothing(bridge: Bridge) -> None:
    bridge.apply(port_filter.rules(VICTIM))  # another machine's: the table is there
    seen, _ = bridge.forge()
    assert seen == set()


def test_machine_without_ipv6_sends_none(bridge: Bridge) -> None:
    bridge.apply(port_filter.rules(Port(PORT.mac, PORT.ipv4)))
    seen, _ = bridge.forge()
    assert seen == {"own-arp", "own-ipv4", "own-end"}


def test_applying_twice_is_fine_and_the_last_counts(bridge: Bridge) -> None:
    bridge.apply(port_filter.rules(Port(PORT.mac, "10.99.0.12", kbps_in=8, kbps_out=8)))
    bridge.apply(port_filter.rules(PORT))
    bridge.apply(port_filter.rules(PORT))
    assert "limit rate" not in bridge.run(bridge.host, "nft", "list", "ruleset")
    bridge.run(bridge.guest, "ping", "-c1", "-W5", GATEWAY)


@pytest.mark.parametrize("direction", ["kbps_in", "kbps_out"])
def test_limit_drops_what_exceeds_it(bridge: Bridge, direction: str) -> None:
    port = Port(PORT.mac, PORT.ipv4, PORT.ipv6, **{direction: 80})  # type: ignore[arg-type]
    bridge.apply(port_filter.rules(port))
    flood = ["ping", "-q", "-f", "-c400", "-s1000", "-W1", GATEWAY]
    said = subprocess.run(
        ["ip", "netns", "exec", bridge.guest, *flood], capture_output=True, text=True, timeout=60
    ).stdout
    loss = float(said.partition("% packet loss")[0].rsplit(" ", 1)[-1])
    assert loss > 20, said
    bridge.apply(port_filter.rules(PORT))
    assert " 0% packet loss" in bridge.run(bridge.guest, *flood)


@pytest.mark.parametrize(
    "line",
    [
        "ether saddr",
        "ip6 saddr !=",
        "arp saddr ip !=",
        "nd-neighbor-advert @th",
        "exthdr frag",
        "sport 67",
        "ether type { ip, ip6 } accept",
    ],
)
def test_every_rule_is_needed(bridge: Bridge, line: str) -> None:
    """The control: a filter that lacks one rule lets something through, or stops what is right."""
    text = port_filter.rules(PORT)
    chain = [rule for rule in text.splitlines() if f" {PORT.tap} " in rule and line in rule]
    assert chain, text
    bridge.apply("\n".join(rule for rule in text.splitlines() if rule not in chain) + "\n")
    seen, sent = bridge.forge()
    assert seen != {name for name in sent if name.startswith("own-")}
