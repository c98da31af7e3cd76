"""What the firewall lets in, with real nftables: a host and a visitor in network namespaces.

The picture is everything a visitor can find out; each planted defect must change it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blockhost import root_agent
from testing.integration.wire import IP, SYSTEM_PATH, Wire, wait_until

TOP = Path(__file__).resolve().parents[2]
FIREWALL = TOP / "packages/common/firewall"
ACTIONS = TOP / "packages/common/root-agent-actions/firewall.py"
VISITOR = Path(__file__).with_name("firewall_visitor.py")
PORTS = (22, 53, 68, 80, 443, 546, 4444, 5353, 8443)
HOST4, HOST6 = "10.0.0.9", "fd00::9"
SYSTEMCTL = """#!/bin/sh
case "$*" in
  *is-active*ssh.service) test -e "$BLOCKHOST_ROOT/ssh-runs" ;;
  *is-active*) exit 3 ;;
  "restart blockhost-firewall.service") exec "$BLOCKHOST_ROOT/usr/share/blockhost/firewall/apply" load ;;
  *) echo "unexpected: $*" >&2; exit 1 ;;
esac
"""
#: Datagrams that a visitor says: where to, from which port; whether they may arrive.
SAID = {
    "lease": (("255.255.255.255", 68, 67), True),
    "no-lease": (("255.255.255.255", 68, 6767), False),
    "name": (("224.0.0.251", 5353, 5353), True),
    "name-6": (("ff02::fb", 5353, 5353), True),
    "name-direct": ((HOST4, 5353, 5353), False),
    "query": ((HOST4, 53, 5300), False),
    "query-6": ((HOST6, 53, 5300), False),
}
EXPECTED = {
    "reached": sorted(f"{address},{port}" for address in (HOST4, HOST6) for port in (80, 443)),
    "arrived": sorted(name for name, (_, may) in SAID.items() if may),
    "pings": [True, True],
    "host reaches": ["10.0.0.1,7777", "fd00::1,7777"],
}

DEFECTS = [
    ("policy drop;", "policy accept;"),
    ("nd-neighbor-solicit, nd-neighbor-advert, ", ""),
    ("established : accept, ", ""),
    ("udp sport 67 udp dport 68 accept", "udp sport 68 udp dport 68 accept"),
    ("ip daddr 224.0.0.251 udp dport 5353 accept", "udp dport 5353 accept"),
    ("ip6 daddr ff02::fb", "ip6 daddr ff02::fc"),
    ("tcp dport { 80, 443 } accept", "ip daddr 0.0.0.0/0 tcp dport { 80, 443 } accept"),
    ("icmpv6 type { echo-request, ", "icmpv6 type { "),
    ("tcp dport @ssh_tcp accept", "tcp dport 22 accept"),
]
#: A few per run, others every day; all with BLOCKHOST_MUTANTS=all (`make test-agent-mutants`).
DAY = int(time.time() // 86_400)
TODAY = (
    DEFECTS
    if os.environ.get("BLOCKHOST_MUTANTS") == "all"
    else [DEFECTS[(3 * DAY + number) % len(DEFECTS)] for number in range(3)]
)


class Guarded:
    """The host of a wire with listeners behind the firewall."""

    def __init__(self, wire: Wire, tmp_path: Path) -> None:
        self.wire, self.root = wire, wire.root
        self.notes = tmp_path / "notes"
        self.folder = self.root / "usr/share/blockhost/firewall"
        self.local = self.root / "etc/blockhost/firewall.d"
        shutil.copytree(FIREWALL, self.folder)
        self.local.mkdir(parents=True)
        wire.program("systemctl", SYSTEMCTL)
        wire.program("sshd", "#!/bin/sh\nprintf 'port 22\\nport 4444\\naddressfamily any\\n'\n")
        self.env = {
            "PATH": f"{wire.bin}:{SYSTEM_PATH}",
            "BLOCKHOST_PATH": f"{wire.bin}:{SYSTEM_PATH}",
            "BLOCKHOST_ROOT": str(self.root),
            "PYTHONPATH": str(TOP / "packages/common"),
        }
        self.children: list[subprocess.Popen[bytes]] = []

    def start(self, namespace: str, *argv: str) -> subprocess.Popen[bytes]:
        child = subprocess.Popen([IP, "netns", "exec", namespace, *argv], env=self.env, cwd=self.root)
        self.children.append(child)
        return child

    def listen(self) -> None:
        for namespace, file, ports in (
            (self.wire.host, self.notes, PORTS),
            (self.wire.router, self.notes.with_suffix(".router"), (7777,)),
        ):
            self.start(namespace, sys.executable, str(VISITOR), "listen", str(file), *map(str, ports))
            wait_until(lambda file=file: file.exists() and "ready" in file.read_text())

    def inside(self, namespace: str, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [IP, "netns", "exec", namespace, *argv], env=self.env, capture_output=True, text=True, timeout=30
        )

    def apply(self, verb: str) -> None:
        done = self.inside(self.wire.host, str(self.folder / "apply"), verb)
        assert done.returncode == 0, done.stderr

    def nft(self, *words: str) -> str:
        done = self.inside(self.wire.host, "nft", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def tries(self, namespace: str, *places: str, seconds: float = 0.8) -> list[str]:
        done = self.inside(namespace, sys.executable, str(VISITOR), "try", str(seconds), *places)
        assert done.returncode == 0, done.stderr
        found: list[str] = json.loads(done.stdout)
        return found

    def reached(self, *ports: int) -> list[str]:
        """What a visitor reaches by TCP."""
        places = [f"{address},{port}" for address in (HOST4, HOST6) for port in ports or PORTS]
        return self.tries(self.wire.router, *places)

    def picture(self) -> dict[str, Any]:
        tag = str(time.monotonic_ns())
        for name, ((address, port, source), _) in SAID.items():
            said = self.inside(
                self.wire.router, sys.executable, str(VISITOR), "say", address, str(port), str(source),
                f"{name} {tag}",
            )  # fmt: skip
            assert said.returncode == 0, said.stderr
        return {
            "reached": self.reached(),
            "pings": [self.wire.reaches(address) for address in (HOST4, HOST6)],
            "host reaches": self.tries(self.wire.host, "10.0.0.1,7777", "fd00::1,7777"),
            "arrived": sorted(line.split()[0] for line in self.notes.read_text().splitlines() if tag in line),
        }

    def stop(self) -> None:
        for child in self.children:
            child.kill()
            child.wait()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    wire = Wire(tmp_path)
    guarded = Guarded(wire, tmp_path)
    try:
        wire.create()
        wire.on_router("addr add 10.0.0.1/24 dev r0")
        wire.on_router("addr add fd00::1/64 dev r0 nodad")
        wire.on_host("addr add 10.0.0.9/24 dev eth0")
        wire.on_host("addr add fd00::9/64 dev eth0 nodad")
        guarded.listen()
        yield guarded
    finally:
        guarded.stop()
        wire.destroy()


def test_a_visitor_finds_what_is_listed_and_nothing_else(guarded: Guarded) -> None:
    everything = guarded.picture()
    assert len(everything["reached"]) == 2 * len(PORTS)  # the control: without rules all is open
    assert everything["arrived"] == sorted(SAID)
    guarded.apply("load")
    assert guarded.picture() == EXPECTED
    before = guarded.nft("-s", "list", "ruleset")
    guarded.apply("load")
    assert guarded.nft("-s", "list", "ruleset") == before


@pytest.mark.parametrize(("line", "instead"), TODAY)
def test_every_defect_shows(guarded: Guarded, line: str, instead: str) -> None:
    base = guarded.folder / "base.nft"
    text = base.read_text()
    assert text.count(line) == 1
    base.write_text(text.replace(line, instead))
    # What was reached before is known to the host as a neighbour; a defect must not hide behind that.
    guarded.apply("load")
    assert guarded.picture() != EXPECTED


def test_sshd_is_reached_exactly_while_it_runs(guarded: Guarded) -> None:
    guarded.apply("load")
    guarded.apply("ssh-on")
    assert guarded.reached(22, 4444) == [f"{a},{p}" for a in (HOST4, HOST6) for p in (22, 4444)]
    guarded.apply("load")
    assert len(guarded.reached(22, 4444)) == 4
    guarded.apply("ssh-off")
    assert guarded.reached(22, 4444) == []
    # Somebody flushes everything by hand while logged in over ssh: loading again keeps the way in.
    (guarded.root / "ssh-runs").touch()
    guarded.nft("flush", "ruleset")
    guarded.apply("load")
    assert len(guarded.reached(22, 4444)) == 4


def test_a_file_of_the_operator_opens_a_port_for_good(guarded: Guarded) -> None:
    file = guarded.local / "monitoring.nft"
    file.write_text('add element inet blockhost local_tcp { 8443 comment "monitoring" }\n')
    guarded.apply("load")
    assert guarded.reached(8443) == [f"{HOST4},8443", f"{HOST6},8443"]
    file.write_text("add element inet blockhost no_such_set { 8443 }\n")
    done = guarded.inside(guarded.wire.host, str(guarded.folder / "apply"), "load")
    assert done.returncode == 1
    assert "no_such_set" in done.stderr
    assert guarded.picture() == EXPECTED  # the rest stands, and what the file opened has closed


def test_what_is_routed_to_machines_is_not_for_the_host(guarded: Guarded) -> None:
    wire, vm = guarded.wire, f"{guarded.wire.host}-vm"
    guarded.apply("load")
    subprocess.run([IP, "netns", "add", vm], check=True)
    try:
        wire.on_host(f"link add tap0 type veth peer name eth0 netns {vm}")
        for words in ("link set lo up", "addr add 10.9.0.2/24 dev eth0", "link set eth0 up"):
            subprocess.run([IP, "-n", vm, *words.split()], check=True)
        subprocess.run([IP, "-n", vm, "route", "add", "default", "via", "10.9.0.1"], check=True)
        wire.on_host("addr add 10.9.0.1/24 dev tap0")
        wire.on_host("link set tap0 up")
        wire.sysctl(wire.host, "net.ipv4.ip_forward=1")
        wire.on_router("route add 10.9.0.0/24 via 10.0.0.9")
        file = guarded.notes.with_suffix(".vm")
        guarded.start(vm, sys.executable, "-c", LISTENER, str(file))
        wait_until(file.exists)
        assert guarded.tries(wire.router, "10.9.0.2,4444") == ["10.9.0.2,4444"]
        assert guarded.tries(vm, "10.9.0.1,4444", "10.9.0.1,80") == ["10.9.0.1,80"]
    finally:
        subprocess.run([IP, "netns", "del", vm], check=False)


LISTENER = """
import pathlib, socket, sys
server = socket.create_server(("", 4444))
pathlib.Path(sys.argv[1]).touch()
while True:
    connection, _ = server.accept()
    connection.sendall(b"hello")
    connection.close()
"""


@pytest.fixture
def agent(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> Guarded:
    """The agent runs in the host's namespace; its socket is a file, so this process may call it."""
    (guarded.root / "run/blockhost").mkdir(parents=True)
    (guarded.root / "var/log").mkdir(parents=True)
    installed = guarded.root / "actions"
    installed.mkdir(mode=0o755)
    shutil.copyfile(ACTIONS, installed / "firewall.py")
    (installed / "firewall.py").chmod(0o644)
    monkeypatch.setenv("BLOCKHOST_ROOT", str(guarded.root))
    guarded.apply("load")
    start_agent(guarded)
    return guarded


def start_agent(guarded: Guarded) -> subprocess.Popen[bytes]:
    actions = str(guarded.root / "actions/firewall.py")
    child = guarded.start(
        guarded.wire.host, sys.executable, "-m", "blockhost.root_agent", "--actions", actions
    )
    wait_until(lambda: agent_answers(child), deadline_s=30)
    return child


def agent_answers(child: subprocess.Popen[bytes]) -> bool:
    assert child.poll() is None
    try:
        root_agent.call("nothing")
    except root_agent.RootAgentConnectionError:
        return False
    except root_agent.RootAgentError:
        return True
    return False


def test_the_agent_opens_and_closes_for_both_families(agent: Guarded) -> None:
    for _ in range(2):
        root_agent.call("iptables-open", port=4444, proto="tcp", comment="test")
    root_agent.call("iptables-open", port=53, proto="udp", comment="test")
    assert agent.reached(53, 4444) == [f"{HOST4},4444", f"{HOST6},4444"]
    assert {"query", "query-6"} <= set(agent.picture()["arrived"])
    # Neither a restart of the agent nor of the firewall changes that.
    killed = agent.children.pop()
    killed.kill()
    killed.wait()
    (agent.root / "run/blockhost/root-agent.sock").unlink()
    agent.apply("load")
    assert agent.reached(53, 4444) == [f"{HOST4},4444", f"{HOST6},4444"]
    start_agent(agent)
    for _ in range(2):
        root_agent.call("iptables-close", port=4444, proto="tcp", comment="test")
        root_agent.call("iptables-close", port=53, proto="udp")
    assert agent.picture() == EXPECTED


def test_a_knock_closes_by_itself(agent: Guarded) -> None:
    root_agent.call("iptables-open", port=4444, proto="tcp", comment="knock", duration=3600)
    root_agent.call("iptables-open", port=4444, proto="tcp", comment="knock", duration=2)
    opened = time.monotonic()
    assert len(agent.reached(4444)) == 2
    wait_until(lambda: agent.reached(4444) == [], deadline_s=10)
    assert time.monotonic() - opened > 1.5


def test_flushed_rules_come_back_with_the_next_knock(agent: Guarded) -> None:
    agent.nft("flush", "ruleset")
    assert len(agent.reached(8443)) == 2
    root_agent.call("iptables-open", port=4444, proto="tcp", comment="knock")
    assert agent.reached(4444, 8443) == [f"{HOST4},4444", f"{HOST6},4444"]


def test_no_value_becomes_a_rule(agent: Guarded) -> None:
    before = agent.nft("-s", "list", "ruleset")
    for params in (
        {"port": "22 } ; flush ruleset", "proto": "tcp", "comment": "x"},
        {"port": 22, "proto": "tcp } accept", "comment": "x"},
        {"port": 22, "proto": "tcp", "comment": 'x" }\nflush ruleset\n#'},
        {"port": 22, "proto": "tcp", "comment": "x\n"},
        {"port": 22, "proto": "tcp", "comment": "x", "duration": 0},
        {"port": 22, "proto": "tcp", "comment": "x", "duration": True},
        {"port": 2**16, "proto": "tcp", "comment": "x"},
    ):
        with pytest.raises(root_agent.RootAgentError, match="expected"):
            root_agent.call("iptables-open", **params)
    assert agent.nft("-s", "list", "ruleset") == before
