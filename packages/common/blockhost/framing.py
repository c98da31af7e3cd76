"""Length-prefixed JSON over a Unix socket: 4 bytes big-endian length, then UTF-8 JSON.

The peer's identity comes from the kernel (SO_PEERCRED, unix(7)), never from the message.
"""

from __future__ import annotations

import contextlib
import grp
import json
import logging
import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from blockhost.errors import FieldError, FrameError
from blockhost.fields import load_json_document
from blockhost.i18n import gettext as _

log = logging.getLogger(__name__)

MAX_FRAME = 64 * 1024
READ_DEADLINE_S = 10.0
_HEADER = struct.Struct(">I")
_CREDENTIALS = struct.Struct("3i")


class Peer(NamedTuple):
    """Who is at the other end of a socket, as the kernel says."""

    pid: int
    uid: int
    gid: int


Handler = Callable[[socket.socket, Peer], None]

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def peer(connection: socket.socket) -> Peer:
    """The process that connected."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return Peer._make(_CREDENTIALS.unpack(raw))


def send_frame(connection: socket.socket, message: object, *, max_bytes: int = MAX_FRAME) -> None:
    """Send one message.

    Raises:
        FrameError: it is longer than `max_bytes`.
        OSError: the peer is gone or does not read.
    """
    connection.sendall(frame(message, max_bytes=max_bytes))


def frame(message: object, *, max_bytes: int = MAX_FRAME) -> bytes:
    """One message as it goes over the socket.

    Raises:
        FrameError: it is longer than `max_bytes`.
    """
    payload = _encode(message).encode()
    if len(payload) > max_bytes:
        raise FrameError(
            _("a message of %(count)s bytes, at most %(max_bytes)s are allowed")
            % {"count": len(payload), "max_bytes": max_bytes}
        )
    return _HEADER.pack(len(payload)) + payload


def receive_frame(
    connection: socket.socket, *, max_bytes: int = MAX_FRAME, deadline_s: float | None = READ_DEADLINE_S
) -> Any:
    """Receive one message; None when the peer closed the connection between messages.

    The length is checked before anything is allocated, and the whole frame must arrive within
    `deadline_s` seconds, however slowly its bytes trickle in (None: wait for ever).

    Raises:
        FrameError: too long, cut off, late, or not JSON.
    """
    deadline = None if deadline_s is None else time.monotonic() + deadline_s
    header = _receive(connection, _HEADER.size, deadline)
    if not header:
        return None
    if len(header) < _HEADER.size:
        raise FrameError(_("the connection ended inside a frame"))
    (length,) = _HEADER.unpack(header)
    if not 0 < length <= max_bytes:
        raise FrameError(
            _("a frame of %(length)s bytes, expected 1 to %(max_bytes)s")
            % {"length": length, "max_bytes": max_bytes}
        )
    payload = _receive(connection, length, deadline)
    if len(payload) < length:
        raise FrameError(_("the connection ended inside a frame"))
    try:
        return load_json_document(payload, source="frame", max_bytes=max_bytes)
    except FieldError as error:
        raise FrameError(str(error)) from None


def call(
    path: Path, request: object, *, timeout: float = 300.0, max_bytes: int = MAX_FRAME
) -> dict[str, Any]:
    """One request, one answer, on a connection of its own.

    Raises:
        FrameError: the answer breaks the framing, is not an object, or took over `timeout` seconds.
        OSError: nobody listens.
    """
    message = frame(request, max_bytes=max_bytes)  # made first: nobody waits for it on an open connection
    with connect(path, timeout=timeout) as connection:
        connection.sendall(message)
        answer = receive_frame(connection, max_bytes=max_bytes, deadline_s=timeout)
    if not isinstance(answer, dict):
        raise FrameError(_("the answer is not an object") if answer is not None else _("no answer"))
    return answer


def connect(path: Path, *, timeout: float = 300.0) -> socket.socket:
    """A connection to the Unix socket at `path`."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        # While nobody accepts, a socket with a timeout is told EAGAIN at once (unix(7)); wait for it.
        deadline = time.monotonic() + timeout
        connection.settimeout(timeout)
        while True:
            try:
                connection.connect(os.fspath(path))
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.01)
    except BaseException:
        connection.close()
        raise
    return connection


class FrameServer:
    """Listens on a Unix socket and hands each connection with its peer to `handler` in a thread.

    At most `workers` connections are served at once and `backlog` more wait in the kernel; the
    handler closes nothing, the server does. A socket file left by a dead process is replaced, one
    with a live listener is not.
    """

    def __init__(
        self,
        path: Path,
        handler: Handler,
        *,
        mode: int = 0o660,
        group: str | None = None,
        workers: int = 32,
        backlog: int = 128,
    ) -> None:
        self.path = path
        self._handler = handler
        self._listener = listen(path, mode, group, backlog)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=path.stem)
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._closing = threading.Event()

    def serve_forever(self) -> None:
        """Accept connections until `close` is called."""
        while not self._closing.is_set():
            try:
                connection, _address = self._listener.accept()
            except OSError:
                if self._closing.is_set():
                    break
                log.exception("cannot accept on %s", self.path)
                self._closing.wait(0.5)
                continue
            with self._guard:
                self._open.add(connection)
            self._pool.submit(self._serve, connection)

    def start(self) -> threading.Thread:
        """`serve_forever` in a thread of its own."""
        thread = threading.Thread(target=self.serve_forever, name=f"{self.path.stem}-accept", daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        """Stop listening, end open connections, wait for their handlers."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        with self._guard:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._pool.shutdown(wait=True)

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._handler(connection, peer(connection))
        except (FrameError, OSError) as error:
            log.debug("connection on %s ended: %s", self.path.name, error)
        except Exception:
            log.exception("handler of %s failed", self.path.name)
        finally:
            with self._guard:
                self._open.discard(connection)


def listen(path: Path, mode: int, group: str | None, backlog: int) -> socket.socket:
    """A listening socket at `path`; a file left by a dead process is replaced, a live listener is not."""
    _clear_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    # The umask makes the socket unreachable for others from its first instant.
    umask = os.umask(0o177)
    try:
        listener.bind(os.fspath(path))
    finally:
        os.umask(umask)
    if group is not None and os.geteuid() == 0:
        os.chown(path, -1, grp.getgrnam(group).gr_gid)
    path.chmod(mode)
    listener.listen(backlog)
    return listener


def _clear_stale(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FrameError(_("%(path)s is in the way: not a socket") % {"path": path})
    except FileNotFoundError:
        return
    try:
        connect(path, timeout=1.0).close()
    except OSError:
        path.unlink(missing_ok=True)
    else:
        raise FrameError(_("somebody listens on %(path)s already") % {"path": path})


def _receive(connection: socket.socket, count: int, deadline: float | None) -> bytes:
    """Up to `count` bytes: fewer only at end of file."""
    data = bytearray()
    while len(data) < count:
        if deadline is None:
            connection.settimeout(None)
        else:
            left = deadline - time.monotonic()
            if left <= 0:
                raise FrameError(_("the frame did not arrive in time"))
            connection.settimeout(left)
        try:
            chunk = connection.recv(min(65536, count - len(data)))
        except TimeoutError:
            raise FrameError(_("the frame did not arrive in time")) from None
        except ConnectionResetError:
            break
        if not chunk:
            break
        data += chunk
    return bytes(data)
