"""Backoff for wrong codes, per source, so that a neighbour who burns a code cannot burn the next.

The code itself counts its guesses durably (`blockhost.codes`); this only slows one source down,
and it never slows the console: renewing the code there needs no login.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

FREE_FAILURES = 10
FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 3600.0
MAX_SOURCES = 1024


class Throttle:
    """Remembers failures by source (an IPv6 neighbour counts by its /64)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._guard = threading.Lock()

    def wait_s(self, source: str) -> float:
        """How many seconds this source must still wait; 0 when it may try."""
        with self._guard:
            count, last = self._failures.get(network(source), (0, 0.0))
            if count < FREE_FAILURES:
                return 0.0
            # The exponent is bounded, or a patient attacker would make it overflow.
            pause = min(FIRST_WAIT_S * 2.0 ** min(count - FREE_FAILURES, 20), LONGEST_WAIT_S)
            return max(0.0, last + pause - self._clock())

    def failed(self, source: str, *, compared: bool = True) -> None:
        """Note a failure. One against a code that was spent already brings a first wait at most: a
        flood must not make the operator, who may share its address, wait long after renewing the code."""
        with self._guard:
            key = network(source)
            count, last = self._failures.pop(key, (0, 0.0))
            if compared or count < FREE_FAILURES:
                count, last = count + 1, self._clock()
            self._failures[key] = (count, last)
            while len(self._failures) > MAX_SOURCES:
                self._failures.popitem(last=False)

    def succeeded(self, source: str) -> None:
        with self._guard:
            self._failures.pop(network(source), None)


def network(source: str) -> str:
    """What one neighbour controls: an IPv4 address, or an IPv6 /64."""
    try:
        address = ipaddress.ip_address(source.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
