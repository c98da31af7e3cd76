"""The agent as a process: who may, what is refused, and that nobody holds up anybody."""

from __future__ import annotations

import contextlib
import json
import os
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
from blockhost.root_agent.action import action
from blockhost.root_agent.audit import AuditLog, verify
from blockhost.root_agent.dispatch import Dispatcher
from blockhost.root_agent.lanes import Lanes
from blockhost.root_agent.server import AgentServer, Limits
from packages.common.tests.agent_process import (
    COMMON,
    MOST_MEMORY_KIB,
    Agent,
    answer_of,
    frame,
    installed_probe,
)


@pytest.fixture
def agent(root: Path) -> Iterator[Agent]:
    running = Agent(root)
    yield running
    if running.process.poll() is None:
        assert running.stop() == 0
    assert not running.socket.exists()


def test_calls_and_their_errors(agent: Agent) -> None:
    assert root_agent.call("echo", port=7) == {"port": 7}
    assert root_agent.call("plain", fine=True, x=1) == {"error": "not fine", "seen": ["fine", "x"]}
    for name, params, message in (
        ("echo", {"port": "7"}, "port: expected a whole number"),
        ("nothing", {}, "no such action for this caller"),
        ("broken", {}, "internal error"),
        ("plain", {}, "not fine"),
        ("plain-wrong", {}, "did not answer with ok"),
        ("long-answer", {}, "too long for one frame"),
        ("odd-answer", {}, "internal error"),
    ):
        with pytest.raises(RootAgentError, match=message) as error:
            root_agent.call(name, **params)
        assert "a secret" not in str(error.value)
    assert "a secret" not in agent.log.read_text()


def test_refusals_cannot_flood_the_log(agent: Agent) -> None:
    refusal = frame(b'{"action":"nothing"}')
    sent, counted, deadline = 150, 0, time.monotonic() + 20
    with agent.connect() as connection:
        connection.sendall(refusal * sent)
        assert all(answer_of(connection) for _ in range(sent))
        while not counted:  # what was not written is counted with the first refusal of the next second
            assert time.monotonic() < deadline
            connection.sendall(refusal)
            assert answer_of(connection)
            sent += 1
            refused = [entry for entry in agent.entries() if entry["phase"] == "refused"]
            counted = sum(entry.get("more", 0) for entry in refused)
    assert counted >= 50
    assert sum(entry.get("more", 1) for entry in refused) == sent


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
        while time.monotonic() - started < 13:
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


def test_slow_action_delays_no_quick_one(agent: Agent) -> None:
    """Naps of 3 s, fifty for one machine and ten for others: quick actions answer in under 200 ms, what
    the reading thread answers itself and what a worker does alike."""
    connections = [agent.connect() for _ in range(60)]
    for number, connection in enumerate(connections):
        name = "one" if number >= 10 else f"other-{number}"
        connection.sendall(
            frame(json.dumps({"action": "nap", "params": {"name": name, "port": 3000}}).encode())
        )
    times = []
    for number in range(200):
        started = time.monotonic()
        if number % 2:
            root_agent.call("echo", port=1)
        else:
            root_agent.call("effect", name="a")
        times.append(time.monotonic() - started)
    assert sorted(times)[197] < 0.2
    assert max(times) < 2  # not one of them waited for a nap
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


def test_what_waits_for_workers_is_bounded(agent: Agent) -> None:
    """Requests of 60 KiB each for a slow action: those that are too many are refused, small ones are not."""
    big = frame(json.dumps({"action": "plain-nap", "params": {"junk": [[]] * 15_000}}).encode())
    clients = [agent.connect() for _ in range(300)]
    try:
        for client in clients:
            client.sendall(big)
        assert root_agent.call("effect", name="a") == {}
        answers = []
        for client in clients[-50:]:
            client.settimeout(10)
            answers.append(answer_of(client))
        assert all(answer and "too much is being done" in answer["error"] for answer in answers)
        assert agent.memory_kib() < 2 * MOST_MEMORY_KIB
    finally:
        for client in clients:
            client.close()
    agent.process.kill()  # it would sleep through the naps first
    agent.process.wait(20)
    agent.socket.unlink()


def test_one_account_cannot_take_every_connection(root: Path) -> None:
    audit = AuditLog(root / "agent.log")
    lanes = Lanes()
    limits = Limits(clients=10, clients_per_uid=3)
    server = AgentServer(root / "a.sock", Dispatcher({}, audit), lanes, limits=limits)
    thread = threading.Thread(target=server.run)
    thread.start()
    clients = [socket.socket(socket.AF_UNIX) for _ in range(4)]
    try:
        for client in clients:
            client.settimeout(10)
            client.connect(str(root / "a.sock"))
        assert clients[3].recv(1) == b""
        clients[0].close()
        clients[1].sendall(frame(b"{}"))
        assert answer_of(clients[1])
        with socket.socket(socket.AF_UNIX) as again:  # the closed one's place is free
            again.settimeout(10)
            again.connect(str(root / "a.sock"))
            again.sendall(frame(b"{}"))
            assert answer_of(again)
    finally:
        for client in clients:
            client.close()
        server.stop()
        thread.join(20)
        lanes.close()
        audit.close()
    assert not (root / "a.sock").exists()


def test_stopping_waits_for_what_runs(agent: Agent) -> None:
    with agent.connect() as connection:
        connection.sendall(frame(b'{"action":"nap","params":{"name":"a","port":1000}}'))
        deadline = time.monotonic() + 10
        while not any(entry.get("action") == "nap" for entry in agent.entries()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert agent.stop() == 0
        assert answer_of(connection) == {"ok": True}
    assert agent.entries()[-1]["phase"] == "done"


def test_only_what_waits_for_nothing_is_instant() -> None:
    for options in ({"resource": "x", "only_reads": True}, {"is_slow": True, "only_reads": True}, {}):
        with pytest.raises(TypeError, match="not instant"):

            @action(is_instant=True, **options)
            def wrong() -> None: ...


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
