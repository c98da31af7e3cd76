"""One-time challenges: six characters for one browser, valid once and for five minutes."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

#: As the setup's code: no letter that looks like another.
ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
LENGTH = 6
LIFETIME_S = 300
MOST = 1000
MOST_PER_SOURCE = 50


@dataclass(frozen=True, slots=True)
class Challenge:
    """What was asked of one browser."""

    code: str
    host: str
    browser: bytes
    source: str
    expires_at: float

    @property
    def message(self) -> str:
        """The text to sign. It says what for and where, so that it serves nowhere else."""
        return f"Log in to the BlockHost admin panel of {self.host} with code {self.code}"


class Challenges:
    """Keeps what has been asked. All times by a clock that nobody sets."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._open: OrderedDict[str, Challenge] = OrderedDict()

    def issue(self, *, browser: str, host: str, source: str) -> Challenge:
        """A new challenge. Flooding from one source costs that source's own older ones."""
        with self._guard:
            self._forget_expired()
            self._make_room(source)
            while (code := "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))) in self._open:
                pass
            challenge = Challenge(code, host, _digest(browser), source, self._clock() + LIFETIME_S)
            self._open[code] = challenge
            return challenge

    def find(self, code: str, *, browser: str) -> Challenge | None:
        """A challenge of this browser that is still open."""
        with self._guard:
            return self._of(code, browser)

    def take(self, code: str, *, browser: str) -> Challenge | None:
        """The same, and it is spent: of many callers with one code, one gets it."""
        with self._guard:
            challenge = self._of(code, browser)
            if challenge is not None:
                del self._open[challenge.code]
            return challenge

    def __len__(self) -> int:
        return len(self._open)

    def _of(self, code: str, browser: str) -> Challenge | None:
        self._forget_expired()
        challenge = self._open.get(code.strip().upper())
        if challenge is None or not hmac.compare_digest(challenge.browser, _digest(browser)):
            return None
        return challenge

    def _forget_expired(self) -> None:
        now = self._clock()
        while self._open and next(iter(self._open.values())).expires_at <= now:
            self._open.popitem(last=False)

    def _make_room(self, source: str) -> None:
        sources = Counter(challenge.source for challenge in self._open.values())
        if sources[source] >= MOST_PER_SOURCE:
            self._drop_oldest_of(source)
        elif len(self._open) >= MOST:
            self._drop_oldest_of(sources.most_common(1)[0][0])

    def _drop_oldest_of(self, source: str) -> None:
        for code, challenge in self._open.items():
            if challenge.source == source:
                del self._open[code]
                return


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
