"""The agent's socket: one thread reads all connections, workers act and answer.

A client that only sits there costs a descriptor and a few hundred bytes, not a worker. Lengths are
checked before anything is kept, a frame must be complete within a deadline, and what all clients
together have half-sent is bounded.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from blockhost.framing import MAX_FRAME, Peer, listen, peer
from blockhost.root_agent.dispatch import Answer, Dispatcher

log = logging.getLogger(__name__)

_HEADER = struct.Struct(">I")
#: Connections that wait in the kernel; more than that, and connect(2) fails at once.
BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may use of the agent."""

    clients: int = 1500
    frame_s: float = 5.0
    idle_s: float = 300.0
    answer_s: float = 10.0
    buffered: int = 16 * 1024 * 1024


@dataclass(slots=True)
class _Client:
    connection: socket.socket
    peer: Peer
    #: When it is closed unless something happens first (monotonic seconds).
    deadline: float
    data: bytearray = field(default_factory=bytearray)
    length: int | None = None


class AgentServer:
    """Serves one socket. `run` returns after `stop`."""

    def __init__(
        self, path: Path, dispatcher: Dispatcher, *, group: str | None = None, limits: Limits | None = None
    ) -> None:
        self.path = path
        self._dispatcher = dispatcher
        self._limits = limits or Limits()
        self._listener = listen(path, 0o660, group, BACKLOG)
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._clients: dict[int, _Client] = {}
        self._answered: deque[_Client] = deque()
        self._buffered = 0
        self._at_work = 0
        self._stopping = threading.Event()

    def run(self) -> None:
        """Serve until `stop`; then close everything."""
        sweep_at = time.monotonic() + 1
        try:
            while not self._stopping.is_set():
                for key, _ in self._selector.select(1.0):
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fd == self._wake_read:
                        self._drain()
                    elif key.fd in self._clients:
                        self._read(self._clients[key.fd])
                if time.monotonic() >= sweep_at:
                    self._sweep()
                    sweep_at = time.monotonic() + 1
        finally:
            self._close()

    def stop(self) -> None:
        """End `run` soon. Callable from any thread and from a signal handler."""
        self._stopping.set()
        self._wake()

    def _accept(self) -> None:
        for _ in range(64):
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # out of descriptors: existing clients go on
                log.warning("cannot accept: %s", error)
                return
            who = peer(connection)
            if len(self._clients) + self._at_work >= self._limits.clients or not self._dispatcher.may_connect(
                who
            ):
                log.warning("refused a connection of uid %d", who.uid)
                connection.close()
                continue
            connection.setblocking(False)
            self._watch(_Client(connection, who, time.monotonic() + self._limits.idle_s))

    def _watch(self, client: _Client) -> None:
        self._clients[client.connection.fileno()] = client
        self._selector.register(client.connection, selectors.EVENT_READ)

    def _read(self, client: _Client) -> None:
        wanted = (_HEADER.size if client.length is None else client.length) - len(client.data)
        try:
            chunk = client.connection.recv(wanted)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._drop(client)
            return
        if not client.data and client.length is None:
            client.deadline = time.monotonic() + self._limits.frame_s
        client.data += chunk
        self._buffered += len(chunk)
        if len(chunk) < wanted:
            if self._buffered > self._limits.buffered:
                self._drop(client)
        elif client.length is None:
            self._got_length(client)
        else:
            self._got_frame(client)

    def _got_length(self, client: _Client) -> None:
        (length,) = _HEADER.unpack(client.data)
        self._forget_data(client)
        if not 0 < length <= MAX_FRAME:
            self._refuse(client, f"a frame of {length} bytes, expected 1 to {MAX_FRAME}")
            return
        client.length = length

    def _got_frame(self, client: _Client) -> None:
        payload = bytes(client.data)
        self._forget_data(client)
        client.length = None
        self._unwatch(client)
        self._at_work += 1
        self._dispatcher.submit(payload, client.peer, lambda answer: self._answer(client, answer))

    def _answer(self, client: _Client, answer: Answer) -> None:
        """Called in a worker: send, then hand the connection back to the reading thread."""
        try:
            client.connection.settimeout(self._limits.answer_s)
            client.connection.sendall(_frame(answer))
            client.connection.setblocking(False)
        except OSError:
            with contextlib.suppress(OSError):
                client.connection.shutdown(socket.SHUT_RDWR)
        self._answered.append(client)
        self._wake()

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_read, 4096):
                pass
        while self._answered:
            client = self._answered.popleft()
            self._at_work -= 1
            client.deadline = time.monotonic() + self._limits.idle_s
            self._watch(client)

    def _refuse(self, client: _Client, reason: str) -> None:
        with contextlib.suppress(OSError):
            client.connection.send(_frame({"ok": False, "error": reason}))
        self._drop(client)

    def _sweep(self) -> None:
        now = time.monotonic()
        for client in [client for client in self._clients.values() if client.deadline <= now]:
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        self._forget_data(client)
        self._unwatch(client)
        client.connection.close()

    def _unwatch(self, client: _Client) -> None:
        self._selector.unregister(client.connection)
        del self._clients[client.connection.fileno()]

    def _forget_data(self, client: _Client) -> None:
        self._buffered -= len(client.data)
        client.data = bytearray()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # the pipe is full: it will wake up anyway
            os.write(self._wake_write, b"\0")

    def _close(self) -> None:
        self._listener.close()
        self.path.unlink(missing_ok=True)
        for client in list(self._clients.values()):
            self._drop(client)
        self._selector.close()


def _frame(answer: Answer) -> bytes:
    try:
        payload = json.dumps(answer, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError):
        log.exception("an action's answer is not JSON")
        payload = b'{"ok":false,"error":"internal error, see the agent\'s log"}'
    if len(payload) > MAX_FRAME:
        payload = b'{"ok":false,"error":"the answer is too long for one frame"}'
    return _HEADER.pack(len(payload)) + payload
