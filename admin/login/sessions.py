"""Sessions live here, in memory; the cookie holds a random name for one."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

LIFETIME_S = 3600
MOST = 64


@dataclass(frozen=True, slots=True)
class Session:
    """Who is logged in, and until when."""

    address: str
    expires_at: float


class Sessions:
    """All sessions; a restart of the panel ends them."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        # By the hash of the name, so that what is in memory opens nothing.
        self._open: dict[bytes, Session] = {}

    def start(self, address: str) -> str:
        """Begin a session; its name, 128 bits that nobody guesses."""
        name = secrets.token_urlsafe(16)
        with self._guard:
            now = self._clock()
            self._open = {key: each for key, each in self._open.items() if each.expires_at > now}
            while len(self._open) >= MOST:
                del self._open[min(self._open, key=lambda key: self._open[key].expires_at)]
            self._open[_digest(name)] = Session(address, now + LIFETIME_S)
        return name

    def find(self, name: str) -> Session | None:
        with self._guard:
            session = self._open.get(_digest(name))
        return session if session is not None and session.expires_at > self._clock() else None

    def end(self, name: str) -> None:
        with self._guard:
            self._open.pop(_digest(name), None)


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "replace")).digest()
