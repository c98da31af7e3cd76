"""The agent's socket: one thread reads all connections and answers what needs no waiting; workers do
the rest.

A client that only sits there costs a descriptor and a few hundred bytes, not a thread. Nothing is
allocated by a length that a client claims, a frame must be complete within a deadline, and what all
clients together have half-sent or have waiting is bounded.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from blockhost.errors import FrameError
from blockhost.framing import MAX_FRAME, Peer, listen, peer
from blockhost.i18n import gettext as _
from blockhost.root_agent.dispatch import Answer, Call, Dispatcher
from blockhost.root_agent.lanes import Lanes

log = logging.getLogger(__name__)

_HEADER = struct.Struct(">I")
_LONGEST = _HEADER.size + MAX_FRAME
#: Connections that wait in the kernel; more than that, and connect(2) waits or fails.
BACKLOG = 1024
#: Frames up to this size are never refused for what others have waiting.
SMALL_FRAME = 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may use of the agent."""

    clients: int = 1500
    #: One account's connections; the rest stay free for the others, root first of all.
    clients_per_uid: int = 1200
    frame_s: float = 5.0
    idle_s: float = 300.0
    #: Bytes of frames that have not arrived whole.
    buffered: int = 16 * 1024 * 1024
    #: Bytes of frames whose action has not answered.
    at_work: int = 4 * 1024 * 1024


@dataclass(slots=True, eq=False)
class _Client:
    """A connection. It belongs to the reading thread, and while its frame is at work to the worker."""

    connection: socket.socket
    number: int
    peer: Peer
    #: When it is closed unless something happens first (monotonic seconds).
    deadline: float
    #: What came after the last whole frame, and how much of that is in the sum of all.
    data: bytearray = field(default_factory=bytearray)
    counted: int = 0
    #: The size of the frame whose answer it waits for.
    at_work: int = 0
    #: The events that epoll reports of it.
    events: int = 0


class AgentServer:
    """Serves one socket. `run` returns after `stop`."""

    def __init__(
        self,
        path: Path,
        dispatcher: Dispatcher,
        lanes: Lanes,
        *,
        group: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.path = path
        self._dispatcher = dispatcher
        self._lanes = lanes
        self._limits = limits or Limits()
        self._listener = listen(path, 0o660, group, BACKLOG)
        self._listener.setblocking(False)
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)
        self._stop_read, self._stop_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._epoll.register(self._stop_read, select.EPOLLIN)
        self._is_stopping = False
        self._buffer = bytearray(_LONGEST)
        self._clients: dict[int, _Client] = {}
        self._by_uid: Counter[int] = Counter()
        self._buffered = 0
        #: For what workers change as well: what is at work, and whose connection it is.
        self._guard = threading.Lock()
        self._at_work = 0

    def run(self) -> None:
        """Serve until `stop`; then close everything."""
        sweep_at = time.monotonic() + 1
        try:
            while not self._is_stopping:
                for number, _event in self._epoll.poll(1.0, 64):
                    if client := self._clients.get(number) or self._accept():
                        self._read(client)
                if time.monotonic() >= sweep_at:
                    self._sweep()
                    sweep_at = time.monotonic() + 1
        finally:
            self._close()

    def stop(self) -> None:
        """End `run` soon. Callable from any thread and from a signal handler."""
        self._is_stopping = True
        with contextlib.suppress(BlockingIOError):
            os.write(self._stop_write, b"\0")

    def _accept(self) -> _Client | None:
        try:
            connection, _address = self._listener.accept()
        except BlockingIOError:  # it has gone again; or this is the call to stop
            return None
        except OSError as error:  # out of descriptors: existing clients go on
            log.warning("cannot accept: %s", error)
            time.sleep(0.01)
            return None
        deadline = time.monotonic() + self._limits.idle_s
        client = _Client(connection, connection.fileno(), peer(connection), deadline)
        uid = client.peer.uid
        if (
            not self._dispatcher.may_connect(client.peer)
            or len(self._clients) >= self._limits.clients
            or self._by_uid[uid] >= self._limits.clients_per_uid
        ):
            log.warning("refused a connection of uid %d", uid)
            connection.close()
            return None
        self._by_uid[uid] += 1
        self._clients[client.number] = client
        return client

    def _read(self, client: _Client) -> None:
        """Take what has arrived, and do what is whole."""
        free = _LONGEST - len(client.data)
        try:
            count = client.connection.recv_into(self._buffer, free, socket.MSG_DONTWAIT)
        except BlockingIOError:
            if not client.data:  # nothing new, and nothing left from before
                self._watch(client, select.EPOLLIN)
                return
        except OSError:
            self._drop(client)
            return
        else:
            if not count:
                self._drop(client)
                return
            if client.data:
                client.data += memoryview(self._buffer)[:count]
            else:
                client.data = self._buffer[:count]
                client.deadline = time.monotonic() + self._limits.frame_s
        try:
            self._work_off(client)
        except FrameError as error:
            self._send(client, {"ok": False, "error": str(error)})
            self._drop(client)

    def _work_off(self, client: _Client) -> None:
        """Answer the frames that are there, up to one that a worker has to do."""
        while payload := self._next_frame(client):
            taken = self._dispatcher.take(payload, client.peer)
            if not isinstance(taken, Call):
                is_alive = self._send(client, taken)
            elif taken.action.is_instant:
                is_alive = self._send(client, self._dispatcher.act(taken))
            else:
                self._hand_over(client, taken, len(payload))
                return
            if not is_alive:
                self._drop(client)
                return
            self._start_waiting(client)
        self._watch(client, select.EPOLLIN)

    def _next_frame(self, client: _Client) -> bytes | None:
        """The next frame; None until all of it has arrived.

        Raises:
            FrameError: it is too long, or too much is kept already.
        """
        data, payload = client.data, None
        if len(data) >= _HEADER.size:
            (length,) = _HEADER.unpack_from(data)
            if not 0 < length <= MAX_FRAME:
                raise FrameError(
                    _("a frame of %(length)s bytes, expected 1 to %(max_frame)s")
                    % {"length": length, "max_frame": MAX_FRAME}
                )
            end = _HEADER.size + length
            if len(data) >= end:
                payload = bytes(data[_HEADER.size : end])
                del data[:end]
        if len(data) != client.counted:
            self._buffered += len(data) - client.counted
            client.counted = len(data)
            if self._buffered > self._limits.buffered:
                raise FrameError(_("too many frames are incomplete, try again later"))
        return payload

    def _hand_over(self, client: _Client, call: Call, size: int) -> None:
        """Have a worker make the call; until that has answered, nobody else touches the client."""
        with self._guard:
            if size > SMALL_FRAME and self._at_work + size > self._limits.at_work:
                raise FrameError(_("too much is being done, try again later"))
            client.at_work = size
            self._at_work += size
        if client.events:
            self._epoll.unregister(client.number)
            client.events = 0

        def do() -> None:
            self._finish(client, self._dispatcher.act(call))

        self._lanes.submit(do, resource=call.resource, is_slow=call.action.is_slow)

    def _finish(self, client: _Client, answer: Answer) -> None:
        """Called by a worker: answer, and give the connection back to the reading thread."""
        if not self._send(client, answer):
            with contextlib.suppress(OSError):
                client.connection.shutdown(socket.SHUT_RDWR)  # the reading thread will drop it
        self._start_waiting(client)
        with self._guard:
            self._at_work -= client.at_work
            client.at_work = 0
            if not self._is_stopping:
                # What has arrived may be a whole frame already: the event must not need another byte.
                self._watch(client, select.EPOLLIN | (select.EPOLLOUT if client.data else 0))

    def _send(self, client: _Client, answer: Answer) -> bool:
        """Send an answer; False when it did not fit into the socket's buffer beside those that the client
        has not read. Nobody waits for a client that does not listen."""
        frame = _frame(answer)
        try:
            return client.connection.send(frame, socket.MSG_DONTWAIT) == len(frame)
        except OSError:
            return False

    def _start_waiting(self, client: _Client) -> None:
        seconds = self._limits.frame_s if client.data else self._limits.idle_s
        client.deadline = time.monotonic() + seconds

    def _watch(self, client: _Client, events: int) -> None:
        if client.events == events:
            return
        change = self._epoll.modify if client.events else self._epoll.register
        client.events = events
        change(client.number, events)

    def _sweep(self) -> None:
        now = time.monotonic()
        for client in [one for one in self._clients.values() if one.deadline <= now and not one.at_work]:
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        del self._clients[client.number]
        self._by_uid[client.peer.uid] -= 1
        self._buffered -= client.counted
        client.connection.close()

    def _close(self) -> None:
        """Close everything but connections that wait for a worker: they get their answer."""
        self._listener.close()
        self.path.unlink(missing_ok=True)
        with self._guard:
            self._is_stopping = True
            for client in [one for one in self._clients.values() if not one.at_work]:
                self._drop(client)
            self._epoll.close()


def _frame(answer: Answer) -> bytes:
    try:
        payload = _encode(answer).encode()
    except (TypeError, ValueError):
        log.exception("an action's answer is not JSON")
        payload = b'{"ok":false,"error":"internal error, see the agent\'s log"}'
    if len(payload) > MAX_FRAME:
        payload = b'{"ok":false,"error":"the answer is too long for one frame"}'
    return _HEADER.pack(len(payload)) + payload


_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
