"""The agent's log: one JSON object a line, each holding the hash of the line before.

Altering, removing or reordering a line breaks the chain at that line; a cut-off end is found by
comparing with a head (sequence and hash) that was noted elsewhere. What a power cut tore off is
dropped at the next start, and a line says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blockhost import paths
from blockhost.errors import DamagedFile

FIRST = "0" * 64
ROTATE_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Head:
    """The last line of a log: its number, from 1, and its hash."""

    sequence: int
    hash: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verification found; `problem` names the first line that does not fit."""

    count: int
    head: Head
    problem: str = ""


def log_path() -> Path:
    return paths.log_dir() / "blockhost-agent.log"


class AuditLog:
    """Appends to a log. Threads may share it; only one process may write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._guard = threading.Lock()
        self._file = _open(path)
        lost, self._head = _recover(path, self._file)
        if lost:
            self.append({"phase": "recovered", "lost_bytes": lost}, is_durable=True)

    def append(self, entry: dict[str, Any], *, is_durable: bool) -> Head:
        """Add a line; with `is_durable` it is on the disk when this returns.

        Raises:
            OSError: it could not be written; the caller must not act.
        """
        with self._guard:
            if os.fstat(self._file).st_size > ROTATE_BYTES:
                self._rotate()
            sequence = self._head.sequence + 1
            body = {"seq": sequence, "time": round(time.time(), 3), **entry, "prev": self._head.hash}
            line, digest = _sealed(body)
            _write_all(self._file, line)
            if is_durable:
                os.fdatasync(self._file)
            self._head = Head(sequence, digest)
            return self._head

    @property
    def head(self) -> Head:
        return self._head

    def close(self) -> None:
        os.close(self._file)

    def _rotate(self) -> None:
        """Start a new file; the chain goes on in it, and the file before stays as `.1`."""
        os.fdatasync(self._file)
        self.path.rename(self.path.with_name(self.path.name + ".1"))
        os.close(self._file)
        self._file = _open(self.path)


def verify(path: Path, *, head: str = "") -> Verdict:
    """Follow the chain through the whole file; with `head`, that hash must be one of its lines'."""
    count, previous, found, expected = 0, "", not head, 0
    for number, line in enumerate(_lines(path), start=1):
        entry = _parsed(line)
        if entry is None:
            return Verdict(count, Head(expected, previous), f"line {number} is damaged")
        if number > 1 and (entry["prev"] != previous or entry["seq"] != expected + 1):
            return Verdict(
                count, Head(expected, previous), f"line {number} does not follow line {number - 1}"
            )
        if number == 1 and entry["seq"] == 1 and entry["prev"] != FIRST:
            return Verdict(count, Head(0, FIRST), "line 1 does not start a log")
        if number == 1 and entry["seq"] != 1 and not path.with_name(path.name + ".1").exists():
            return Verdict(count, Head(0, FIRST), f"the log starts with entry {entry['seq']}")
        count, previous, expected = count + 1, entry["hash"], entry["seq"]
        found = found or previous == head
    result = Head(expected, previous or FIRST)
    return Verdict(count, result, "" if found else "the noted head is not in the log: its end was cut off")


def _sealed(body: dict[str, Any]) -> tuple[bytes, str]:
    text = json.dumps(body, separators=(",", ":"), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return (text[:-1] + f',"hash":"{digest}"}}\n').encode(), digest


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The entry if its own hash is right."""
    try:
        entry = json.loads(line)
        body = {key: value for key, value in entry.items() if key != "hash"}
        is_whole = line.endswith(b"\n") and _sealed(body)[0] == line
        is_entry = isinstance(entry["seq"], int) and isinstance(entry["prev"], str)
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return None
    return entry if is_whole and is_entry else None


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


def _recover(path: Path, file: int) -> tuple[int, Head]:
    """Cut a torn last line off; the number of bytes lost, and the head to continue from."""
    size = os.fstat(file).st_size
    start, last, torn = 0, b"", 0
    for line in _lines(path):
        if not line.endswith(b"\n"):
            torn = len(line)
            break
        start, last = start + len(line), line
    if torn:
        os.ftruncate(file, start)
        os.fsync(file)
    if not last:
        rotated = path.with_name(path.name + ".1")
        return torn, _head_of(rotated) if size == 0 and rotated.exists() else Head(0, FIRST)
    return torn, _head_of(path)


def _head_of(path: Path) -> Head:
    last = b""
    for line in _lines(path):
        last = line
    entry = _parsed(last)
    if entry is None:
        raise DamagedFile(
            path,
            "its last line is damaged",
            remedy=f"Keep {path} as evidence under another name, then restart",
        )
    return Head(entry["seq"], entry["hash"])


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
