"""What happened in a run, numbered, for watchers: the last part in memory, all of it in a file.

Numbers rise over restarts of the worker, so a browser that reconnects names the last number it
saw and gets what came after.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from blockhost.files import make_dir
from installer.finalize.step_logs import append_private

log = logging.getLogger(__name__)

KEPT = 2000
FILE = "events.jsonl"


class EventLog:
    """The events of this machine's setup; safe to use from several threads."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / FILE
        self._events: deque[dict[str, Any]] = deque(self._read(), KEPT)
        self._next = self._events[-1]["id"] + 1 if self._events else 1
        self._changed = threading.Condition()
        self._closed = False
        make_dir(directory, mode=0o700)
        # Not fsynced: an event is news, the record beside it is the truth.
        self._output = append_private(self._file)

    def add(self, kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """Append one event and wake the watchers."""
        with self._changed:
            event = {"id": self._next, "type": kind, "time": round(time.time(), 3), **data}
            self._next += 1
            self._events.append(event)
            try:
                self._output.write(json.dumps(event, ensure_ascii=False) + "\n")
            except (OSError, ValueError):  # a full disk must not stop the run; its records will
                log.warning("cannot write %s", self._file)
            self._changed.notify_all()
        return event

    def after(self, number: int) -> list[dict[str, Any]]:
        """The events since `number`; a number that we never gave means: all that are kept."""
        with self._changed:
            return self._after(number)

    def follow(self, number: int, *, idle_s: float) -> Iterator[dict[str, Any] | None]:
        """The events since `number`, then each new one; None after `idle_s` seconds without news."""
        if number >= self._next:
            number = 0
        while True:
            with self._changed:
                events = self._after(number)
                if not events and not self._closed:
                    self._changed.wait(idle_s)
                    events = self._after(number)
                if self._closed and not events:
                    return
            if not events:
                yield None
            for event in events:
                number = event["id"]
                yield event

    def close(self) -> None:
        """End all followers."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        with contextlib.suppress(OSError):  # what a full disk did not take
            self._output.close()

    def _after(self, number: int) -> list[dict[str, Any]]:
        return [event for event in self._events if event["id"] > number]

    def _read(self) -> Iterator[dict[str, Any]]:
        try:
            lines = self._file.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return
        for line in lines[-KEPT:]:
            try:
                event = json.loads(line)
            except ValueError:  # the last line of a killed worker
                continue
            if isinstance(event, dict) and isinstance(event.get("id"), int):
                yield event
