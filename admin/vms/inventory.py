"""The host's virtual machines: the provisioner's list, with owner and expiry of the database.

A snapshot serves every browser for a few seconds: each costs a program and a look at the guests.
Some snapshots are kept, for the charts; they are taken while somebody looks.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from blockhost import vm_db
from blockhost.errors import BlockhostError
from blockhost.fields import load_json_document
from blockhost.i18n import gettext as _
from blockhost.provisioner import failure, get_provisioner

#: Seconds for which a snapshot is good enough, and how many the charts show.
FRESH_S = 4.0
KEPT = 60
LIST_TIMEOUT_S = 30.0
WITHOUT_METRICS_S = 60.0
#: What a chart draws: name, the metric, and the metric that is its whole (None: percent).
CHARTS: tuple[tuple[str, str, str | None], ...] = (
    ("cpu", "cpu_percent", None),
    ("memory", "memory_used_mb", "memory_total_mb"),
)
#: Of the record and of the contract's list: what each machine has here, known or not.
FIELDS = ("status", "ip", "created", "ipv6_address", "owner", "purpose", "expires_at", "suspended_at", "vmid")


class InventoryError(BlockhostError):
    """The machines cannot be listed; the text says why."""


@dataclass(slots=True)
class Inventory:
    """Asked by any thread; one of them looks, the others wait for it."""

    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _seen: float = float("-inf")
    _machines: list[dict[str, Any]] = field(default_factory=list)
    _history: dict[str, dict[str, deque[float | None]]] = field(default_factory=dict)
    #: When to ask for metrics again: not every provisioner's list has them, and this one may be ill.
    _metrics_from: float = float("-inf")

    def machines(self) -> list[dict[str, Any]]:
        """Every machine: contract's `list` fields, record, `metrics` (or None), and `history` of percents.

        Raises:
            InventoryError: the provisioner's list or the database cannot be read.
        """
        with self._lock:
            if self.clock() - self._seen >= FRESH_S:
                self._machines = self._look()
                self._seen = self.clock()
            return [{**machine, "history": self._history_of(machine["name"])} for machine in self._machines]

    def forget(self) -> None:
        """Look again at the next question: something was done."""
        with self._lock:
            self._seen = float("-inf")

    def _look(self) -> list[dict[str, Any]]:
        rows, records = self._rows(), _records()
        found = []
        for row in rows:
            name = str(row.get("name", ""))
            known = {**records.get(name, {}), **row}
            metrics = row.get("metrics") if isinstance(row.get("metrics"), dict) else None
            found.append({"name": name, **{key: known.get(key) for key in FIELDS}, "metrics": metrics})
            self._note(name, metrics or {})
        for gone in self._history.keys() - {machine["name"] for machine in found}:
            del self._history[gone]
        return found

    def _rows(self) -> list[dict[str, Any]]:
        """With metrics where the provisioner can; that option is beyond the contract."""
        provisioner = get_provisioner()
        wanted = ["--format", "json"]
        if self.clock() >= self._metrics_from:
            done = provisioner.run("list", [*wanted, "--metrics"], timeout=LIST_TIMEOUT_S)
            if done.code == 0:
                return _parse(done.stdout)
            self._metrics_from = self.clock() + WITHOUT_METRICS_S
        done = provisioner.run("list", wanted, timeout=LIST_TIMEOUT_S)
        if done.code != 0:
            error = failure("list", done)
            raise InventoryError(_("the provisioner cannot list the machines: %s") % error, hint=error.hint)
        return _parse(done.stdout)

    def _note(self, name: str, metrics: dict[str, Any]) -> None:
        kept = self._history.setdefault(name, {chart: deque(maxlen=KEPT) for chart, _one, _all in CHARTS})
        for chart, used, whole in CHARTS:
            kept[chart].append(_percent(metrics.get(used), 100 if whole is None else metrics.get(whole)))

    def _history_of(self, name: str) -> dict[str, list[float | None]]:
        return {chart: list(values) for chart, values in self._history.get(name, {}).items()}


def _percent(used: object, whole: object) -> float | None:
    """None where the guest does not say (the contract's -1)."""
    if not isinstance(used, int | float) or not isinstance(whole, int | float) or used < 0 or whole <= 0:
        return None
    return round(min(100.0, 100.0 * used / whole), 1)


def _parse(text: str) -> list[dict[str, Any]]:
    try:
        rows = load_json_document(text, source="list --format json", max_bytes=16 * 1024 * 1024)
    except BlockhostError as error:
        raise InventoryError(_("the provisioner's list is not JSON: %s") % error) from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InventoryError(
            _("the provisioner's list is not a list of machines: %s") % json.dumps(rows)[:80]
        )
    return rows


def _records() -> dict[str, dict[str, Any]]:
    """What the database knows, by name; nothing where no machine was ever made."""
    try:
        database = vm_db.get_database(create=False)
    except BlockhostError:
        return {}
    return {record["vm_name"]: dict(record) for record in database.list_vms()}
