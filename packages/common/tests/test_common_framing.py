"""Frames over a Unix socket: limits, deadlines, liars."""

from __future__ import annotations

import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockhost.errors import FrameError
from blockhost.framing import MAX_FRAME, FrameServer, Peer, call, connect, peer, receive_frame, send_frame


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_message_arrives_as_sent(pair: tuple[socket.socket, socket.socket]) -> None:
    send_frame(pair[0], {"a": ["é", 1, None]})
    assert receive_frame(pair[1]) == {"a": ["é", 1, None]}


def test_end_between_frames_is_none(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[0].close()
    assert receive_frame(pair[1]) is None


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (struct.pack(">I", 0), "0 bytes"),
        (struct.pack(">I", MAX_FRAME + 1), "65537 bytes"),
        (struct.pack(">I", 0xFFFFFFFF), "4294967295 bytes"),
        (b"\x00\x00", "ended inside"),
        (struct.pack(">I", 10) + b"{}", "ended inside"),
        (struct.pack(">I", 3) + b"{a}", "frame"),
        (struct.pack(">I", 4) + b'"\xff\xfe"', "UTF-8"),
        (struct.pack(">I", 40) + b"[" * 40, "nested"),
    ],
)
def test_bad_frame_is_refused(pair: tuple[socket.socket, socket.socket], raw: bytes, complaint: str) -> None:
    pair[0].sendall(raw)
    pair[0].shutdown(socket.SHUT_WR)
    with pytest.raises(FrameError, match=complaint):
        receive_frame(pair[1])


def test_trickling_sender_does_not_outlive_the_deadline(pair: tuple[socket.socket, socket.socket]) -> None:
    stop = threading.Event()

    def trickle() -> None:
        pair[0].sendall(struct.pack(">I", 1000))
        while not stop.wait(0.02):
            try:
                pair[0].sendall(b" ")
            except OSError:
                return

    thread = threading.Thread(target=trickle)
    thread.start()
    started = time.monotonic()
    try:
        with pytest.raises(FrameError, match="in time"):
            receive_frame(pair[1], deadline_s=0.3)
        assert time.monotonic() - started < 5
    finally:
        stop.set()
        thread.join()


def test_too_long_a_message_is_not_sent(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(FrameError, match="at most"):
        send_frame(pair[0], "x" * MAX_FRAME)


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[FrameServer]:
    def answer(connection: socket.socket, who: Peer) -> None:
        while (message := receive_frame(connection)) is not None:
            send_frame(connection, {"got": message, "uid": who.uid, "pid": who.pid})

    server = FrameServer(tmp_path / "echo.sock", answer)
    thread = server.start()
    yield server
    server.close()
    thread.join()


def test_server_knows_its_peer_from_the_kernel(echo: FrameServer) -> None:
    answer = call(echo.path, {"uid": 12345}, timeout=5)
    assert answer == {"got": {"uid": 12345}, "uid": os.getuid(), "pid": os.getpid()}


def test_socket_is_closed_to_others(echo: FrameServer) -> None:
    assert stat.S_IMODE(echo.path.stat().st_mode) == 0o660


def test_liar_does_not_disturb_others(echo: FrameServer) -> None:
    with connect(echo.path, timeout=5) as liar:
        liar.sendall(struct.pack(">I", 0xFFFFFFFF))
        assert liar.recv(1) == b""
    assert call(echo.path, 1, timeout=5)["got"] == 1


def test_live_socket_is_not_stolen(echo: FrameServer) -> None:
    with pytest.raises(FrameError, match="already"):
        FrameServer(echo.path, lambda connection, who: None)


def test_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server = FrameServer(path, lambda connection, who: send_frame(connection, {"ok": True}))
    thread = server.start()
    try:
        assert call(path, {}, timeout=5) == {"ok": True}
    finally:
        server.close()
        thread.join()


def test_own_identity(pair: tuple[socket.socket, socket.socket]) -> None:
    assert peer(pair[0]) == Peer(os.getpid(), os.getuid(), os.getgid())
