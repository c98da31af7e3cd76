"""Facts about the machine. The wizard's sandbox has no network and no devices, so the worker tells.

Asked for once in a while, not for every request; `fresh` asks again (a disk was plugged in).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from typing import Any

from blockhost.errors import WorkerError
from installer.web import wizard
from installer.web.client import WorkerClient

Facts = dict[str, Any]

#: Short: what an operator plugs in should show at the next reload.
FRESH_S = 2.0


class HostFacts:
    """The worker's answer to `host`, kept for some seconds; the last one where it does not answer."""

    def __init__(self, worker: WorkerClient) -> None:
        self._worker = worker
        self._facts: Facts = {}
        self._read_at: float | None = None
        self._lock = threading.Lock()

    def get(self, *, max_age_s: float = FRESH_S) -> Mapping[str, Any]:
        """What the worker says about the machine; empty before its first answer."""
        with self._lock:
            now = time.monotonic()
            if self._read_at is None or now - self._read_at > max_age_s:
                with contextlib.suppress(WorkerError):
                    self._facts = self._worker.host()
                self._read_at = now
            return self._facts


def interfaces() -> list[Facts]:
    """Network interfaces: name, mac, is_up, addresses and the like."""
    return _list("interfaces")


def disks() -> list[Facts]:
    """Whole disks: path, model, serial, size_bytes, contents and the like."""
    return _list("disks")


def network() -> Facts:
    """`ip`, `gateway` and `connectivity` of this host."""
    known = _dict("network")
    return {"ip": known.get("ip"), "gateway": known.get("gateway"), "connectivity": known.get("connectivity")}


def boot_medium() -> Any:
    """What this machine booted from, if that is known."""
    return wizard.current().host.get().get("boot_medium")


def fingerprint() -> str:
    """SHA-256 of the certificate that nginx serves, as the console shows it."""
    return str(wizard.current().host.get().get("fingerprint") or "")


def _list(key: str) -> list[Facts]:
    value = wizard.current().host.get().get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _dict(key: str) -> Facts:
    value = wizard.current().host.get().get(key)
    return value if isinstance(value, dict) else {}
