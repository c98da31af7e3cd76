"""WorkerClient over a real socket with real framing; only the answers are canned."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockhost.errors import WorkerError
from blockhost.framing import FrameServer, receive_frame, send_frame
from installer.web.client import MAX_FRAME, WorkerClient


@contextlib.contextmanager
def worker(tmp_path: Path, handler) -> Iterator[WorkerClient]:
    path = tmp_path / "worker.sock"
    server = FrameServer(path, handler, workers=4)
    server.start()
    try:
        yield WorkerClient(path)
    finally:
        server.close()


def answering(answer):
    def handle(connection: socket.socket, _peer) -> None:
        receive_frame(connection, max_bytes=MAX_FRAME)
        send_frame(connection, answer, max_bytes=MAX_FRAME)

    return handle


def test_answer_comes_without_its_ok(tmp_path) -> None:
    with worker(tmp_path, answering({"ok": True, "run_id": "r", "status": "running"})) as client:
        assert client.start({}) == {"run_id": "r", "status": "running"}


def test_refusal_keeps_code_hint_and_data(tmp_path) -> None:
    refusal = {"ok": False, "error": "busy", "hint": "wait", "code": "running", "run_id": "r"}
    with worker(tmp_path, answering(refusal)) as client, pytest.raises(WorkerError) as caught:
        client.start({})
    assert (str(caught.value), caught.value.hint, caught.value.code) == ("busy", "wait", "running")
    assert caught.value.data == {"run_id": "r"}


@pytest.mark.parametrize("answer", [{}, {"ok": "yes"}, {"ok": 1}, {"status": "x"}])
def test_anything_but_true_is_a_refusal(tmp_path, answer) -> None:
    with worker(tmp_path, answering(answer)) as client, pytest.raises(WorkerError):
        client.status()


def test_nobody_there_is_said(tmp_path) -> None:
    with pytest.raises(WorkerError) as caught:
        WorkerClient(tmp_path / "none.sock").status()
    assert caught.value.code == "unreachable"
    assert "journalctl" in caught.value.hint


def test_worker_that_hangs_up_is_unreachable(tmp_path) -> None:
    with worker(tmp_path, lambda connection, peer: None) as client, pytest.raises(WorkerError) as caught:
        client.status()
    assert caught.value.code == "unreachable"


def test_events_come_in_order_with_silence_between(tmp_path) -> None:
    asked = []
    go_on = threading.Event()

    def handle(connection: socket.socket, _peer) -> None:
        asked.append(receive_frame(connection, max_bytes=MAX_FRAME))
        send_frame(connection, {"id": 5, "type": "log"})
        go_on.wait(10)
        send_frame(connection, {"heartbeat": True})
        send_frame(connection, {"id": 6, "type": "run"})

    with worker(tmp_path, handle) as client:
        events = client.events(4, idle_s=0.02)
        assert next(events)["id"] == 5
        assert next(events) is None
        go_on.set()
        rest = [event for event in events if event is not None]
    assert [event["id"] for event in rest] == [6]
    assert asked == [{"command": "events", "after": 4}]


def test_closing_the_events_closes_the_connection(tmp_path) -> None:
    gone = threading.Event()

    def handle(connection: socket.socket, _peer) -> None:
        receive_frame(connection, max_bytes=MAX_FRAME)
        send_frame(connection, {"id": 1, "type": "log"})
        if receive_frame(connection, deadline_s=10) is None:
            gone.set()

    with worker(tmp_path, handle) as client:
        events = client.events()
        next(events)
        events.close()
        assert gone.wait(10)


def test_refused_events_raise(tmp_path) -> None:
    with (
        worker(tmp_path, answering({"ok": False, "error": "no", "code": "forbidden"})) as client,
        pytest.raises(WorkerError, match="no"),
    ):
        next(client.events())
