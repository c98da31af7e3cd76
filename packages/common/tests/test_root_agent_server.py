"""The agent as a process: who may, what is refused, and that nobody holds up anybody."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from blockhost import root_agent
from blockhost.errors import RootAgentConnectionError, RootAgentError
from blockhost.framing import MAX_FRAME
from blockhost.root_agent.audit import verify

HERE = Path(__file__).parent
COMMON = HERE.parent
FUZZ_FRAMES = int(os.environ.get("BLOCKHOST_FUZZ_FRAMES", "20000"))
MOST_MEMORY_KIB = 64 * 1024


class Agent:
    """A running agent and its files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.socket = root / "run/blockhost/root-agent.sock"
        self.log = root / "var/log/blockhost-agent.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        probe = installed_probe(root)
        environment = {**os.environ, "PYTHONPATH": str(COMMON), "BLOCKHOST_ROOT": str(root)}
        with (root / "agent.err").open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "blockhost.root_agent", "--actions", str(probe)],
                env=environment, cwd=root, stderr=output,
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while True:
            try:
                self.connect().close()
                return
            except OSError:
                assert self.process.poll() is None, (root / "agent.err").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(30)
        try:
            connection.connect(str(self.socket))
        except OSError:
            connection.close()
            raise
        return connection

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def memory_kib(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@pytest.fixture
def agent(root: Path) -> Iterator[Agent]:
    running = Agent(root)
    yield running
    if running.process.poll() is None:
        assert running.stop() == 0
    assert not running.socket.exists()


def installed_probe(root: Path) -> Path:
    """The actions of these tests with the modes of an installed package."""
    directory = root / "actions"
    directory.mkdir(mode=0o755, exist_ok=True)
    file = directory / "agent_probe_actions.py"
    file.write_bytes((HERE / "agent_probe_actions.py").read_bytes())
    file.chmod(0o644)
    return file


def frame(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


def answer_of(connection: socket.socket) -> dict[str, Any] | None:
    """One answer, or None when the agent closed the connection."""
    try:
        header = connection.recv(4, socket.MSG_WAITALL)
        if len(header) < 4:
            return None
        body = connection.recv(struct.unpack(">I", header)[0], socket.MSG_WAITALL)
    except ConnectionResetError:
        return None
    return json.loads(body)  # type: ignore[no-any-return]


def test_calls_and_their_errors(agent: Agent) -> None:
    assert root_agent.call("echo", port=7) == {"port": 7}
    assert root_agent.call("plain", fine=True, x=1) == {"error": "not fine", "seen": ["fine", "x"]}
    for action, params, message in (
        ("echo", {"port": "7"}, "port: expected a whole number"),
        ("nothing", {}, "no such action for this caller"),
        ("broken", {}, "internal error"),
        ("plain", {}, "not fine"),
        ("plain-wrong", {}, "did not answer with ok"),
        ("long-answer", {}, "too long for one frame"),
        ("odd-answer", {}, "internal error"),
    ):
        with pytest.raises(RootAgentError, match=message) as error:
            root_agent.call(action, **params)
        assert "a secret" not in str(error.value)
    assert "a secret" not in agent.log.read_text()


def test_absent_agent_is_a_connection_error(root: Path) -> None:
    with pytest.raises(RootAgentConnectionError) as error:
        root_agent.call("echo", port=1)
    assert "systemctl status" in error.value.hint


def test_every_call_is_in_the_log_before_its_effect(agent: Agent) -> None:
    root_agent.call("effect", name="a")
    phases = [(entry["phase"], entry.get("action")) for entry in agent.entries()]
    assert phases == [("started", None), ("call", "effect"), ("done", "effect")]
    assert agent.entries()[1]["params"] == {"name": "a"}
    assert verify(agent.log).problem == ""


def test_action_that_cannot_be_logged_does_not_happen(root: Path) -> None:
    full = Path("/dev/full")
    environment = {**os.environ, "PYTHONPATH": str(COMMON), "BLOCKHOST_ROOT": str(root)}
    script = (
        "import os, sys\n"
        "from blockhost.root_agent import audit\n"
        "real = audit._write_all\n"
        "def write(file, data):\n"
        "    if b'\"call\"' in data: raise OSError(28, 'No space left on device')\n"
        "    real(file, data)\n"
        "audit._write_all = write\n"
        "from blockhost.root_agent.__main__ import main\n"
        "raise SystemExit(main(sys.argv[1:]))\n"
    )
    assert full.exists()
    (root / "var/log").mkdir(parents=True)
    process = subprocess.Popen(
        [sys.executable, "-c", script, "--actions", str(installed_probe(root))],
        env=environment, cwd=root, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                root_agent.call("effect", name="a")
                pytest.fail("it happened")
            except RootAgentConnectionError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            except RootAgentError as error:
                assert "cannot write its log: No space left" in str(error)
                break
        assert not (root / "effects").exists()
    finally:
        process.terminate()
        process.wait(20)


def test_secret_and_long_parameters_are_not_logged(agent: Agent) -> None:
    with pytest.raises(RootAgentError):
        root_agent.call("plain", api_token="t0psecret", text="y" * 1000)
    logged = agent.log.read_text()
    assert "t0psecret" not in logged
    assert "yyy" not in logged
    assert "1000 bytes, sha256" in logged


CALLER = """
import json, sys
from blockhost import root_agent
from blockhost.errors import RootAgentError
try:
    print(json.dumps(root_agent.call(sys.argv[1], **json.loads(sys.argv[2]))))
except RootAgentError as error:
    print(type(error).__name__, error)
"""


def call_as(agent: Agent, uid: int, action: str, **params: Any) -> str:
    become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    done = subprocess.run(
        [*become, sys.executable, "-B", "-c", CALLER, action, json.dumps(params)],
        env={**os.environ, "PYTHONPATH": str(COMMON), "BLOCKHOST_ROOT": str(agent.root)},
        capture_output=True, text=True, cwd="/",
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_kernel_says_who_calls(agent: Agent, tmp_path: Path) -> None:
    for directory in (tmp_path, *tmp_path.parents[:3]):
        if str(directory).startswith("/tmp/"):
            directory.chmod(directory.stat().st_mode | 0o011)
    (agent.root / "run/blockhost").chmod(0o755)
    assert "Connection" in call_as(agent, 65534, "echo", port=1)  # the socket's mode already refuses
    agent.socket.chmod(0o666)  # and without it, the agent does
    nobody = call_as(agent, 65534, "echo", port=1)
    assert "RootAgentConnectionError" in nobody
    assert json.loads(call_as(agent, 1, "echo", port=1)) == {"port": 1}
    assert "no such action for this caller" in call_as(agent, 1, "effect", name="a")
    assert "no such action for this caller" in call_as(agent, 1, "nothing")
    assert not (agent.root / "effects").exists()
    refused = [entry for entry in agent.entries() if entry["phase"] == "refused"]
    assert {entry["uid"] for entry in refused} == {1}


def test_message_cannot_say_who_it_is_from(agent: Agent) -> None:
    with agent.connect() as connection:
        connection.sendall(frame(b'{"action":"echo","params":{"port":1},"uid":0}'))
        answer = answer_of(connection)
    assert answer is not None
    assert answer["ok"] is False


@pytest.mark.parametrize("length", [0, MAX_FRAME + 1, 2**31, 2**32 - 1])
def test_length_is_refused_before_anything_is_read(agent: Agent, length: int) -> None:
    with agent.connect() as connection:
        connection.sendall(struct.pack(">I", length))
        answer = answer_of(connection)
        assert answer is not None
        assert "expected 1 to" in answer["error"]
        assert answer_of(connection) is None


def test_frames_follow_each_other_on_one_connection(agent: Agent) -> None:
    with agent.connect() as connection:
        connection.sendall(frame(b'{"action":"echo","params":{"port":1}}') * 3)
        assert [answer_of(connection) for _ in range(3)] == [{"port": 1, "ok": True}] * 3


def test_trickling_frame_has_a_deadline(agent: Agent) -> None:
    with agent.connect() as connection:
        started = time.monotonic()
        connection.sendall(struct.pack(">I", 100) + b"{")
        while True:
            connection.settimeout(0.5)
            try:
                assert connection.recv(1) == b""
                break
            except TimeoutError:
                try:
                    connection.sendall(b" ")
                except BrokenPipeError:
                    break
        assert 4 < time.monotonic() - started < 12


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


@pytest.mark.timeout(300)
def test_fuzzed_frames_have_no_effect_and_no_crash(agent: Agent) -> None:
    """20,000 frames: each gets an answer or a closed connection; only well-formed ones act."""
    seed = int(os.environ.get("BLOCKHOST_FUZZ_SEED", "20261120"))
    sent = 0

    def run(worker: int) -> tuple[int, int]:
        random_ = random.Random(seed * 100 + worker)
        frames = effects = 0
        connection = agent.connect()
        while frames < FUZZ_FRAMES // 4:
            payload = mutant(random_)
            frames += 1
            broken_length = random_.random() < 0.05
            data = (
                frame(payload)
                if not broken_length
                else struct.pack(">I", random_.getrandbits(32)) + payload[:64]
            )
            try:
                connection.sendall(data)
                if broken_length:
                    connection.shutdown(socket.SHUT_WR)
                answer = answer_of(connection)
            except OSError:
                answer = None
            if answer is not None and answer["ok"] and b"effect" in payload:
                effects += 1
            if answer is None or broken_length or not payload:
                connection.close()
                connection = agent.connect()
        connection.close()
        return frames, effects

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(run, range(4)))
    sent = sum(frames for frames, _ in results)
    done = sum(effects for _, effects in results)
    assert sent >= FUZZ_FRAMES
    assert agent.process.poll() is None
    names = (agent.root / "effects").read_text().splitlines() if (agent.root / "effects").exists() else []
    assert len(names) == done  # nothing acted that was not answered with ok
    assert all(name.replace("-", "").isalnum() and not name.startswith("-") for name in names)
    assert "fuzz" not in names
    assert agent.memory_kib() < MOST_MEMORY_KIB
    assert root_agent.call("echo", port=1) == {"port": 1}
    assert verify(agent.log).problem == ""


def test_slow_action_delays_no_quick_one(agent: Agent) -> None:
    """Sixty naps of 3 s for one machine, and one of another: quick actions answer in under 200 ms."""
    connections = [agent.connect() for _ in range(60)]
    for number, connection in enumerate(connections):
        name = "one" if number else "two"
        connection.sendall(
            frame(json.dumps({"action": "nap", "params": {"name": name, "port": 3000}}).encode())
        )
    times = []
    for _ in range(100):
        started = time.monotonic()
        root_agent.call("echo", port=1)
        times.append(time.monotonic() - started)
    assert sorted(times)[98] < 0.2
    for connection in connections[:2]:
        assert answer_of(connection) == {"ok": True}
    for connection in connections:
        connection.close()
    agent.process.kill()  # it would sleep through the other naps first
    agent.process.wait(20)
    agent.socket.unlink()


def test_calls_for_one_resource_follow_each_other(agent: Agent) -> None:
    started = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        list(
            pool.map(lambda name: root_agent.call("nap", name=name, port=300), ["a", "a", "a", "b", "c", "d"])
        )
    assert 0.9 <= time.monotonic() - started < 1.7


@pytest.mark.timeout(180)
def test_thousand_idle_clients_cost_little(agent: Agent) -> None:
    clients = [agent.connect() for _ in range(1000)]
    try:
        for client in clients[:500]:
            client.sendall(struct.pack(">I", 60_000) + b"{" * 1000)
        assert root_agent.call("echo", port=1) == {"port": 1}
        assert agent.memory_kib() < MOST_MEMORY_KIB
    finally:
        for client in clients:
            client.close()


def test_half_sent_frames_together_are_bounded(agent: Agent) -> None:
    clients = []
    try:
        for _ in range(1000):
            client = agent.connect()
            clients.append(client)
            with contextlib.suppress(ConnectionError):  # the agent ends those that are too much
                client.sendall(struct.pack(">I", MAX_FRAME) + b" " * (MAX_FRAME - 1))
        assert root_agent.call("echo", port=1) == {"port": 1}
        assert agent.memory_kib() < MOST_MEMORY_KIB
    finally:
        for client in clients:
            client.close()


def test_client_that_never_reads_holds_up_nobody(agent: Agent) -> None:
    with agent.connect() as deaf:
        deaf.sendall(frame(b'{"action":"echo","params":{"port":1}}') * 200)
        done = threading.Event()
        threading.Thread(target=lambda: (root_agent.call("echo", port=2), done.set())).start()
        assert done.wait(5)


def test_second_agent_does_not_take_the_socket(agent: Agent) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "blockhost.root_agent"],
        env={**os.environ, "PYTHONPATH": str(COMMON), "BLOCKHOST_ROOT": str(agent.root)},
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert second.returncode == 1
    assert "somebody listens" in second.stderr
    assert root_agent.call("echo", port=1) == {"port": 1}


def test_killed_agent_starts_again_over_its_socket(agent: Agent) -> None:
    root_agent.call("effect", name="a")
    agent.process.kill()
    agent.process.wait()
    assert agent.socket.exists()
    again = Agent(agent.root)
    try:
        root_agent.call("effect", name="b")
        assert verify(agent.log).problem == ""
    finally:
        again.stop()
