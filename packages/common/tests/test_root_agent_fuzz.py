"""Frames that nobody meant well: raw bytes, and well-formed calls of the shipped actions with odd values.

Each run has another seed, which a failure names; BLOCKHOST_FUZZ_FRAMES and BLOCKHOST_FUZZ_SEED say
otherwise (`make test-agent-fuzz`).
"""

from __future__ import annotations

import json
import os
import random
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from blockhost import root_agent
from blockhost.root_agent.audit import verify
from packages.common.tests.agent_process import (
    COMMON,
    MOST_MEMORY_KIB,
    Agent,
    answer_of,
    frame,
    installed,
)

FRAMES = int(os.environ.get("BLOCKHOST_FUZZ_FRAMES", "5000"))
SEED = int(os.environ.get("BLOCKHOST_FUZZ_SEED") or time.time_ns() % 10**9)
WORKERS = 4

SEEDS = [
    b'{"action":"echo","params":{"port":1}}',
    b'{"action":"effect","params":{"name":"a"}}',
    b'{"action":"nap","params":{"name":"a","port":1}}',
    b'{"action":"plain","params":{"fine":true}}',
]
SPECIAL = [
    b"", b"null", b"[]", b"NaN", b'{"action":NaN}', b"[" * 30_000, b'{"a":' * 5_000, b"9" * 60_000,
    b'"' * 64_000, b'{"action":"echo","params":{"port":true}}',
    b'{"action":"echo","action":"effect","params":{"name":"fuzz"}}',
    b'{"action":"echo","params":{"port":1e400}}', b'{"action":"effect","params":{"name":"fuzz\\n"}}',
    b'{"action":"effect","params":{"name":"--fuzz"}}', b'{"action":"effect","params":{"name":"../fuzz"}}',
    b'{"action":"effect\\u0000","params":{"name":"fuzz"}}', b'{"action":"\\ud800","params":{}}', b"\xff\xfe",
    b'{"action":"echo","params":{"port":-0}}', b'{"action":["echo"],"params":{}}',
    b'{"action":"echo","params":[]}',
]  # fmt: skip


def mutant(random_: random.Random) -> bytes:
    if random_.random() < 0.2:
        return random_.choice(SPECIAL)
    body = bytearray(random_.choice(SEEDS))
    for _ in range(random_.randint(1, 6)):
        place = random_.randrange(len(body))
        kind = random_.random()
        if kind < 0.4:
            body[place] = random_.randrange(256)
        elif kind < 0.6:
            del body[place : place + random_.randint(1, 5)]
        elif kind < 0.8:
            body[place:place] = random_.choice(
                [b'"', b"{", b"}", b"\\", b"\0", b"-", b"1" * 50, b"\n", b",", b"e9"]
            )
        else:
            body += body[: random_.randint(0, len(body))]
        if not body:
            return b""
    return bytes(body)


def send_all(agent: Agent, make: Callable[[random.Random], bytes], on_answer: Callable[..., None]) -> int:
    """FRAMES frames from a few clients, one in twenty with a wrong length; how many were sent."""

    def run(worker: int) -> int:
        random_ = random.Random(SEED * 100 + worker)
        sent, connection = 0, agent.connect()
        while sent < FRAMES // WORKERS:
            payload = make(random_)
            sent += 1
            is_broken = random_.random() < 0.05
            data = frame(payload)
            if is_broken:
                data = struct.pack(">I", random_.getrandbits(32)) + payload[:64]
            try:
                connection.sendall(data)
                if is_broken:
                    connection.shutdown(socket.SHUT_WR)
                answer = answer_of(connection)
            except OSError:
                answer = None
            if answer is not None:
                on_answer(payload, answer)
            if answer is None or is_broken or not payload:
                connection.close()
                connection = agent.connect()
        connection.close()
        return sent

    with ThreadPoolExecutor(WORKERS) as pool:
        return sum(pool.map(run, range(WORKERS)))


@pytest.fixture
def probe(root: Path) -> Iterator[Agent]:
    running = Agent(root)
    yield running
    if running.process.poll() is None:
        assert running.stop() == 0


@pytest.mark.timeout(600)
def test_fuzzed_frames_have_no_effect_and_no_crash(probe: Agent) -> None:
    """Each frame gets an answer or a closed connection; only well-formed ones act."""
    effects: list[bytes] = []

    def note(payload: bytes, answer: dict[str, Any]) -> None:
        if answer["ok"] and b"effect" in payload:
            effects.append(payload)

    before = probe.memory_kib()
    assert send_all(probe, mutant, note) >= FRAMES // WORKERS * WORKERS, SEED
    assert probe.process.poll() is None, SEED
    file = probe.root / "effects"
    names = file.read_text().splitlines() if file.exists() else []
    assert len(names) == len(effects), SEED  # nothing acted that was not answered with ok
    assert all(name.replace("-", "").isalnum() and not name.startswith("-") for name in names), SEED
    assert "fuzz" not in names, SEED
    assert probe.memory_kib() < min(MOST_MEMORY_KIB, before + 16 * 1024), SEED
    assert root_agent.call("echo", port=1) == {"port": 1}
    assert verify(probe.log).problem == "", SEED


#: Notes what it was called with, in a file of its own.
RECORDER = """#!/bin/sh
file=$LEDGER/$$.$(date +%N)
printf '%s\\0' "${0##*/}" "$@" > "$file.open"
cat >> "$file.open"
mv "$file.open" "$file"
case "${0##*/} $1" in
  "bhcrypt generate-keypair") echo 1111111111111111111111111111111111111111111111111111111111111111 ;;
  "bhcrypt key-to-address") echo 0x1111111111111111111111111111111111111111 ;;
esac
"""
_PORT = r"(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_ADDRESS = r"[0-9a-f:]{2,39}(?:\.[0-9.]{5,13})?/128"
_ELEMENT = rf"element inet blockhost open_(?P<proto>tcp|udp) {{ (?P<port>{_PORT})"
#: Every way in which a shipped action may call a program: arguments joined by a line's end, then its input.
SHAPES = {
    "ip": rf"-6\nroute\n(?:replace|del)\n{_ADDRESS}\ndev\n(?:br|vmbr|virbr)[0-9]{{1,4}}\n",
    "nft": (
        rf"-f\n-\nadd {_ELEMENT} }}\ndelete element inet blockhost open_(?P=proto) {{ (?P=port) }}\n"
        r"add element inet blockhost open_(?P=proto) { (?P=port)(?: timeout [1-9][0-9]{0,6}s)?"
        r' comment "[A-Za-z0-9][A-Za-z0-9 ._:@/-]{0,63}" }\n'
        rf"|delete\nelement\ninet\nblockhost\nopen_(?:tcp|udp)\n{{ {_PORT} }}\n"
    ),
    "hostnamectl": r"hostname\n--\n[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?\n",
    "bhcrypt": r"generate-keypair\n|key-to-address\n--key\n-\n1{64}",
    "broker-client": r"renew\n",
    "virt-customize": (
        r"--quiet\n--format\nqcow2\n--add\n/proc/[0-9]+/fd/[0-9]+\n(?:--install\n[a-z0-9+.,-]+\n|--delete\n"
        r"/[A-Za-z0-9._/+-]+\n)+"
    ),
}
#: What may lie on the disk afterwards that did not before.
MADE = (
    r"etc/blockhost/(?:addressbook\.json"
    r"|(?!(?:admin|server|dev|broker|deployer|admin-signature)\.)[a-z0-9][a-z0-9_-]{0,31}\.key)"
)
_ODD: list[Any] = [
    None, True, False, 0, -1, 1, 22, 65536, 2**63, 10**300, 1.5, "", " ", "\n", "\0", "-", "--",
    "--help", "-rf",
    "../../etc/shadow", "/etc/shadow", "..", "$(id)", "`id`", "a;id", "a b", 'a"b', "a'b", "br0\n", "br0 up",
    "ａ", "ä", "\ud800", "a" * 70, "x" * 5000, "admin", "server", "deployer", "admin-signature", [], [[]], {},
    {"a": 1}, ["--x"], "22", "::1/128", "fe80::1/128", "2001:db8::1/64", "::ffff:1.2.3.4/128", "ff02::1/128",
]  # fmt: skip
_ADDRESSES = ["2001:db8::1/128", "2001:DB8:0::2/128", "2001:db8::1.2.3.4/128"]
_IMAGE = "/var/lib/blockhost/template/debian.qcow2"
#: Values that are meant, by action and parameter.
MEANT: dict[str, dict[str, list[Any]]] = {
    "ip6-route-add": {"address": _ADDRESSES, "dev": ["br0", "virbr7"]},
    "ip6-route-del": {"address": _ADDRESSES, "dev": ["br0", "vmbr12"]},
    "iptables-open": {
        "port": [22, 65535], "proto": ["tcp", "udp"], "comment": ["knock: 1", "a/b@c"], "duration": [1, 60],
    },
    "iptables-close": {"port": [22, 1], "proto": ["tcp", "udp"], "comment": ["x"]},
    "generate-wallet": {"name": ["hot", "cold-1"]},
    "addressbook-save": {
        "entries": [{"hot": {"address": "0x" + "1" * 40}}, {"hot": {"address": "x", "keyfile": "../x.key"}}],
    },
    "broker-renew": {},
    "virt-customize": {
        "image_path": [_IMAGE, f"{_IMAGE[:-6]}.link.qcow2", f"{_IMAGE}/../../db.raw"],
        "commands": [[["install", "a,b+c"]], [["delete", "/tmp/x"]],
            [["run-command", "id"]], [["--add", "/dev/sda"]]],
    },
    "admin-path-update": {"path_prefix": ["/ops", "/a/b"]},
    "hostname-set": {"name": ["host", "a.b-c"]},
    "ping": {},
}  # fmt: skip


def call_of(random_: random.Random) -> bytes:
    """A call with mostly meant values: one odd value must not hide behind another."""
    action = random_.choice(list(MEANT))
    params = {name: random_.choice(values) for name, values in MEANT[action].items()}
    for _ in range(random_.choice((0, 1, 1, 1, 2))):
        kind = random_.random()
        if params and kind < 0.6:
            params[random_.choice(list(params))] = random_.choice(_ODD)
        elif params and kind < 0.8:
            name = random_.choice(list(params))
            text = json.dumps(params[name])
            place = random_.randrange(len(text) + 1)
            params[name] = text.strip('"')[:place] + random_.choice(
                ["\n", "\0", "-", "/", "..", " ", ";", '"', "}"]
            )
        elif params and kind < 0.9:
            params.pop(random_.choice(list(params)))
        else:
            params[random_.choice(["stdin", "argv", "shell", "timeout", "__class__", "self", "params"])] = (
                "id"
            )
    return json.dumps({"action": action, "params": params}).encode("utf-8", "surrogatepass")


@pytest.fixture
def shipped(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """The agent with all actions of the common package and the panel, and recorded programs."""
    tools = tmp_path_factory.mktemp("tools")
    ledger = tools / "ledger"
    ledger.mkdir()
    for name in (*SHAPES, "systemctl", "nginx"):
        (tools / name).write_text(RECORDER)
        (tools / name).chmod(0o755)
    template = root / "var/lib/blockhost/template"
    template.mkdir()
    (template / "debian.qcow2").touch(0o600)
    (template / "debian.link.qcow2").symlink_to(root / "etc/blockhost/db.raw")
    (root / "etc/blockhost/db.raw").write_text("a secret")
    sources = [
        *COMMON.glob("root-agent-actions/*.py"),
        *COMMON.parents[1].glob("admin/root-agent-actions/*.py"),
    ]
    files = [installed(root, source) for source in sorted(sources)]
    running = Agent(root, files, {"LEDGER": str(ledger), "BLOCKHOST_PATH": f"{tools}:/usr/bin:/bin"})
    yield running
    if running.process.poll() is None:
        assert running.stop() == 0


@pytest.mark.timeout(900)
def test_shipped_actions_never_give_a_program_another_argument(shipped: Agent) -> None:
    ledger = Path(shipped.process_environment["LEDGER"])
    before, accepted = tree(shipped.root), Counter[str]()

    def note(payload: bytes, answer: dict[str, Any]) -> None:
        if answer["ok"]:
            accepted[json.loads(payload)["action"]] += 1

    send_all(shipped, call_of, note)
    assert shipped.process.poll() is None, SEED
    calls = [file.read_bytes() for file in ledger.iterdir()]
    for call in calls:
        program, _, rest = call.decode().partition("\0")
        assert re.fullmatch(SHAPES[program], rest.replace("\0", "\n")), (SEED, call)
    # The control: each action did accept what was meant, and programs ran.
    assert set(accepted) == set(MEANT) - {"admin-path-update"}, SEED  # there is no site to move
    assert len(calls) >= sum(accepted[name] for name in ("ip6-route-add", "iptables-open", "hostname-set"))
    assert [name for name in tree(shipped.root) - before if not re.fullmatch(MADE, name)] == [], SEED
    assert (shipped.root / "etc/blockhost/db.raw").read_text() == "a secret"
    assert shipped.memory_kib() < MOST_MEMORY_KIB, SEED
    assert verify(shipped.log).problem == "", SEED


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}
