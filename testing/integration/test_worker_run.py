"""A real worker process: its socket, its commands, and death at any moment."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blockhost.framing import connect, receive_frame
from testing.fixtures.worker_rig import WorkerRig, descendants, is_alive

ANSWERS: dict[str, Any] = {"colour": "red", "key": {"$secret": "key"}}
CANARY = "canary-2f9c41"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[WorkerRig]:
    rig = WorkerRig(tmp_path)
    yield rig
    rig.close()


@pytest.fixture
def worker(rig: WorkerRig) -> WorkerRig:
    rig.start()
    assert rig.ask("keep", name="key", value=CANARY)["ok"]
    return rig


def _hold(rig: WorkerRig, step: str) -> Path:
    file = rig.root / f"hold-{step}"
    file.touch()
    return file


def _at_work(rig: WorkerRig, step: str) -> None:
    rig.until(lambda: rig.ask("status")["current_step"] == step, f"step {step} at work")


def test_a_run_from_start_to_complete(worker: WorkerRig) -> None:
    started = worker.ask("start", answers=ANSWERS)
    assert started["ok"]
    done = worker.wait_for("completed", "failed")
    assert done["status"] == "completed"
    assert done["run_id"] == started["run_id"]
    assert done["progress"] == 100
    assert done["steps"]["one"]["data"] == {"name": "one"}
    assert worker.effects() == ["apply one", "apply two", "minted token-can", "apply mint", "apply three"]
    assert (worker.root / "var/lib/blockhost/.setup-complete").exists()
    again = worker.ask("start", answers=ANSWERS)
    assert again["code"] == "completed"


def test_eight_concurrent_starts_make_one_run(worker: WorkerRig) -> None:
    held = _hold(worker, "one")
    answers: list[dict[str, Any]] = []
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        answers.append(worker.ask("start", answers=ANSWERS))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held.unlink()
    accepted = [answer for answer in answers if answer["ok"]]
    refused = [answer for answer in answers if not answer["ok"]]
    assert len(accepted) == 1
    assert {(answer["code"], answer["run_id"]) for answer in refused} == {("running", accepted[0]["run_id"])}
    worker.wait_for("completed")
    assert worker.effects().count("apply one") == 1


def test_fifty_mixed_commands_leave_one_run(worker: WorkerRig) -> None:
    held = _hold(worker, "one")
    run_id = worker.ask("start", answers=ANSWERS)["run_id"]
    answers: list[dict[str, Any]] = []

    def ask(number: int) -> None:
        command = ("start", "retry", "reset")[number % 3]
        arguments = {"answers": ANSWERS} if command == "start" else {}
        answers.append(worker.ask(command, **arguments))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held.unlink()
    assert len(answers) == 50
    assert {(answer["ok"], answer["code"], answer["run_id"]) for answer in answers} == {
        (False, "running", run_id)
    }
    worker.wait_for("completed")
    assert worker.effects().count("apply one") == 1


def test_a_killed_worker_goes_on_by_itself(worker: WorkerRig) -> None:
    held = _hold(worker, "two")
    run_id = worker.ask("start", answers=ANSWERS)["run_id"]
    _at_work(worker, "two")
    assert worker.kill() == -signal.SIGKILL
    held.unlink()
    worker.start()
    done = worker.wait_for("completed", "failed")
    assert (done["status"], done["run_id"]) == ("completed", run_id)
    assert worker.effects().count("apply one") == 1
    assert worker.effects().count("apply two") == 1


def test_sigterm_ends_cleanly_and_the_next_start_goes_on(worker: WorkerRig) -> None:
    held = _hold(worker, "two")
    worker.ask("start", answers=ANSWERS)
    _at_work(worker, "two")
    assert worker.kill(signal.SIGTERM) == 0
    held.unlink()
    worker.start()
    assert worker.wait_for("completed", "failed")["status"] == "completed"
    assert worker.effects().count("apply two") == 1


def test_a_step_that_outlives_its_worker_for_an_instant_never_meets_its_successor(worker: WorkerRig) -> None:
    """The irreversible step is killed after its intent; the next attempt finds it and looks first."""
    held = _hold(worker, "mint")
    worker.ask("start", answers=ANSWERS)
    worker.until(lambda: "minted token-can" in worker.effects(), "the effect outside")
    worker.kill()
    held.unlink()
    worker.start()
    worker.wait_for("completed")
    assert worker.effects().count("minted token-can") == 1
    assert worker.effects().count("apply mint") == 1


def test_a_failed_run_waits_for_retry(worker: WorkerRig) -> None:
    broken = worker.root / "fail-two"
    broken.touch()
    worker.ask("start", answers=ANSWERS)
    failed = worker.wait_for("failed")
    assert (failed["failed_step"], failed["error"], failed["hint"]) == (
        "two", "two was told to fail", "Remove its file",
    )  # fmt: skip
    worker.kill()
    worker.start()
    assert worker.ask("status")["status"] == "failed"
    assert worker.ask("retry", step_id="nonsense")["code"] == "unknown-step"
    assert worker.ask("retry", step_id="one")["code"] == "completed-step"
    assert worker.ask("retry", step_id="three")["code"] == "not-failed"
    broken.unlink()
    assert worker.ask("retry", step_id="two")["ok"]
    worker.wait_for("completed")
    assert worker.effects().count("apply one") == 1


def test_retry_before_start_is_refused(worker: WorkerRig) -> None:
    assert worker.ask("retry")["code"] == "not-started"


def test_reset_is_refused_after_an_irreversible_step(worker: WorkerRig) -> None:
    (worker.root / "fail-three").touch()
    worker.ask("start", answers=ANSWERS)
    worker.wait_for("failed")
    refusal = worker.ask("reset")
    assert (refusal["ok"], refusal["code"]) == (False, "irreversible")
    assert "mint" in refusal["error"]
    assert worker.ask("reset", force=True) == {"ok": True, "status": "reset"}
    assert worker.ask("status")["status"] == "pending"


def test_reset_before_that_forgets_the_run(worker: WorkerRig) -> None:
    (worker.root / "fail-two").touch()
    worker.ask("start", answers=ANSWERS)
    worker.wait_for("failed")
    assert worker.ask("reset")["ok"]
    status = worker.ask("status")
    assert (status["status"], status["run_id"], status["steps"]) == ("pending", None, {})
    worker.kill()
    worker.start()
    assert worker.ask("status")["status"] == "pending"


def test_changed_answers_begin_anew_but_spend_nothing_twice(worker: WorkerRig) -> None:
    broken = worker.root / "fail-three"
    broken.touch()
    first = worker.ask("start", answers=ANSWERS)["run_id"]
    worker.wait_for("failed")
    broken.unlink()
    second = worker.ask("start", answers={**ANSWERS, "colour": "blue"})["run_id"]
    assert first != second
    worker.wait_for("completed")
    assert worker.effects().count("apply one") == 2
    assert worker.effects().count("apply mint") == 1
    assert not (worker.root / "var/lib/blockhost-setup/finalize" / first).exists()


def test_the_confirmed_plan_is_what_runs(worker: WorkerRig) -> None:
    plan = worker.ask("plan", answers=ANSWERS)
    assert plan["steps"][0]["changes"] == [{"kind": "file", "target": "/one", "detail": "red"}]
    assert worker.ask("plan", answers=ANSWERS)["hash"] == plan["hash"]
    refusal = worker.ask("start", answers={**ANSWERS, "colour": "blue"}, plan=plan["hash"])
    assert refusal["code"] == "plan-changed"
    assert worker.ask("start", answers=ANSWERS, plan=plan["hash"])["ok"]
    worker.wait_for("completed")


def test_a_secret_that_was_not_given_is_asked_for(worker: WorkerRig) -> None:
    refusal = worker.ask("start", answers={"other": {"$secret": "other"}})
    assert (refusal["code"], refusal["names"]) == ("missing-secret", ["other"])


def test_events_are_replayed_over_a_restart(worker: WorkerRig) -> None:
    worker.ask("start", answers=ANSWERS)
    worker.wait_for("completed")
    before = []
    for event in worker.events():
        before.append(event)
        if event["type"] == "run" and event["status"] == "completed":
            break
    assert [event["id"] for event in before] == list(range(1, len(before) + 1))
    assert {event["type"] for event in before} == {"run", "step", "progress", "log"}
    worker.kill()
    worker.start()
    middle = before[len(before) // 2]["id"]
    stream = worker.events(after=middle)
    assert [next(stream)["id"] for _ in range(3)] == [middle + 1, middle + 2, middle + 3]


def test_no_secret_is_seen_in_logs_or_state(worker: WorkerRig) -> None:
    worker.ask("start", answers=ANSWERS)
    worker.wait_for("completed")
    refusal = worker.ask("action", name="print-secret", params={}, answers={})
    assert refusal["error"] == "cannot use [redacted]"
    seen = [
        str(path)
        for path in worker.root.rglob("*")
        if path.is_file() and CANARY.encode() in path.read_bytes() and "vault.json" not in path.name
    ]
    assert seen == []


def test_an_action_keeps_the_secret_it_made(worker: WorkerRig) -> None:
    answer = worker.ask("action", name="make-key", params={}, answers={})
    assert answer["result"] == {"address": "0xabc"}
    assert worker.ask("kept")["names"] == ["key", "made_key"]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({}, "bad-request"),
        ([], "bad-request"),
        ({"command": 7}, "bad-request"),
        ({"command": "starts"}, "unknown-command"),
        ({"command": "start"}, "bad-request"),
        ({"command": "start", "answers": []}, "bad-request"),
        ({"command": "start", "answers": {}, "force": True}, "bad-request"),
        ({"command": "retry", "step_id": 3}, "bad-request"),
        ({"command": "reset", "force": "yes"}, "bad-request"),
        ({"command": "events", "after": "1"}, "bad-request"),
        ({"command": "login", "otp": None}, "bad-request"),
        ({"command": "keep", "name": "../x", "value": "v"}, ""),
        ({"command": "keep", "name": "x", "value": ""}, ""),
        ({"command": "complete"}, "not-started"),
    ],
)
def test_bad_requests_are_refused_with_a_reason(worker: WorkerRig, request_: Any, code: str) -> None:
    from blockhost.framing import send_frame

    with connect(worker.socket, timeout=20) as connection:
        send_frame(connection, request_)
        answer = receive_frame(connection, max_bytes=1 << 20, deadline_s=20)
    assert (answer["ok"], answer["code"]) == (False, code)
    assert answer["error"]
    assert worker.ask("status")["ok"]


@pytest.mark.parametrize(
    "raw", [struct.pack(">I", 0), struct.pack(">I", 1 << 31), struct.pack(">I", 4) + b"nope"]
)
def test_broken_frames_cost_only_their_connection(worker: WorkerRig, raw: bytes) -> None:
    with connect(worker.socket, timeout=20) as connection:
        connection.sendall(raw)
        assert connection.recv(100) == b""
    assert worker.ask("status")["ok"]


def test_another_user_gets_nothing(worker: WorkerRig) -> None:
    if os.geteuid() != 0:
        pytest.fail("this test needs root to become somebody else")
    for directory in (worker.root, *worker.socket.parents[:3]):
        directory.chmod(0o755)
    parents = [
        parent for parent in worker.root.parents if parent.is_relative_to("/tmp") and parent != Path("/tmp")
    ]
    for parent in parents:
        parent.chmod(0o755)
    worker.socket.chmod(0o666)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(worker.socket))
                os.write(writer, json.dumps(receive_frame(client, deadline_s=10)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    answer = json.loads(os.read(reader, 65536))
    os.close(reader)
    assert (answer["ok"], answer["code"]) == (False, "forbidden")


def test_a_second_worker_does_not_take_the_socket(worker: WorkerRig) -> None:
    other = WorkerRig(worker.root)
    process = other.start(wait=False)
    assert process.wait(20) == 1
    assert worker.ask("status")["ok"]


def test_systemd_is_told(rig: WorkerRig) -> None:
    notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notices.bind(str(rig.root / "notify"))
    notices.settimeout(20)
    rig.environment |= {"NOTIFY_SOCKET": str(rig.root / "notify"), "WATCHDOG_USEC": "100000"}
    rig.start()
    heard = {notices.recv(100) for _ in range(3)}
    notices.close()
    assert heard == {b"READY=1", b"WATCHDOG=1"}


def test_a_code_is_guessed_ten_times_at_most(worker: WorkerRig, monkeypatch: pytest.MonkeyPatch) -> None:
    from blockhost import codes

    monkeypatch.setenv("BLOCKHOST_ROOT", str(worker.root))
    code = codes.issue()
    outcomes: list[str] = []

    def guess() -> None:
        outcomes.append(worker.ask("login", otp="AAAAAAAA", source="192.0.2.1")["outcome"])

    threads = [threading.Thread(target=guess) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes.current() is not None
    assert codes.current().attempts == 10  # type: ignore[union-attr]
    assert len(outcomes) == 50
    assert "accepted" not in outcomes
    # A renewed code: the neighbour waits, the operator gets in.
    code = codes.issue()
    assert worker.ask("login", otp=code.code, source="192.0.2.1")["outcome"] == "wait"
    assert worker.ask("login", otp=code.code, source="192.0.2.9")["outcome"] == "accepted"


def test_a_step_ends_with_its_killed_worker(worker: WorkerRig) -> None:
    _hold(worker, "one")
    worker.ask("start", answers=ANSWERS)
    _at_work(worker, "one")
    assert worker.process is not None
    pid = worker.process.pid
    worker.until(lambda: len(descendants(pid)) >= 3, "a guard and its step run")
    children = descendants(pid)
    worker.kill()
    assert [child for child in children if is_alive(child)] == []
    assert worker.effects() == []
