"""The agent's log: one JSON object a line, each holding the hash of the line before.

Altering, removing or reordering a line breaks the chain at that line; a cut-off end is found by
comparing with a head (sequence and hash) that was noted elsewhere. What a power cut tore off is
dropped at the next start, and a line says so.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blockhost import paths
from blockhost.errors import DamagedFile
from blockhost.i18n import gettext as _

log = logging.getLogger(__name__)

FIRST = "0" * 64
#: How a value stands in the log.
encode = json.JSONEncoder(separators=(",", ":")).encode
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
        lost, head = _recover(path, self._file)
        self._sequence, self._hash = head.sequence, head.hash
        self._before = -1
        self._size = os.fstat(self._file).st_size
        if lost:
            self.append({"phase": "recovered", "lost_bytes": lost}, is_durable=True)

    def append(self, entry: dict[str, Any], *, is_durable: bool) -> None:
        """Add a line; with `is_durable` it is on the disk when this returns.

        Raises:
            OSError: it could not be written; the caller must not act.
        """
        self.append_encoded(encode(entry)[1:-1], is_durable=is_durable)

    def append_encoded(self, members: str, *, is_durable: bool) -> None:
        """As `append`, with the members of the JSON object as they will stand in the line."""
        with self._guard:
            if self._size > ROTATE_BYTES:
                self._rotate()
            sequence = self._sequence + 1
            line, digest = _sealed(
                f'{{"seq":{sequence},"time":{time.time():.3f},"prev":"{self._hash}",{members}'
            )
            try:
                _write_all(self._file, line)
            except OSError:
                os.ftruncate(self._file, self._size)  # a part of a line would spoil the next one
                raise
            self._size += len(line)
            self._sequence, self._hash = sequence, digest
            file = self._file
        if is_durable:
            os.fdatasync(file)  # outside: those who only read do not wait for the disk

    @property
    def head(self) -> Head:
        with self._guard:
            return Head(self._sequence, self._hash)

    def close(self) -> None:
        os.close(self._file)
        if self._before >= 0:
            os.close(self._before)

    def _rotate(self) -> None:
        """Start a new file; the chain goes on in it, and the file before stays as `.1`. The journal keeps
        the head, so that what is dropped one day can be told apart from what never was."""
        log.warning("%s goes on in a new file; its head is %d %s", self.path, self._sequence, self._hash)
        os.fdatasync(self._file)
        self.path.rename(self.path.with_name(self.path.name + ".1"))
        if self._before >= 0:
            os.close(self._before)
        self._before = self._file  # somebody may still be about to sync it
        self._file, self._size = _open(self.path), 0


def verify(path: Path, *, head: str = "") -> Verdict:
    """Follow the chain through the log, and through the file before it where that still exists; with
    `head`, that hash must be one of its lines'."""
    count, previous, expected, is_found = 0, "", 0, not head
    rotated = path.with_name(path.name + ".1")
    for file in (rotated, path) if rotated.exists() else (path,):
        for number, line in enumerate(_lines(file), start=1):
            entry, problem = _parsed(line), ""
            if entry is None:
                problem = _("is damaged")
            elif count and (entry["prev"] != previous or entry["seq"] != expected + 1):
                before = (
                    _("line %(number)s") % {"number": number - 1}
                    if number > 1
                    else _("the end of %(name)s") % {"name": rotated.name}
                )
                problem = _("does not follow %(before)s") % {"before": before}
            elif not count and file == path and (entry["seq"], entry["prev"]) != (1, FIRST):
                problem = _("is entry %(seq)s: the log's beginning is missing") % {"seq": entry["seq"]}
            if entry is None or problem:
                where = f"{file.name}: {_('line %(number)s') % {'number': number}}"
                return Verdict(count, Head(expected, previous or FIRST), f"{where} {problem}")
            count, previous, expected = count + 1, entry["hash"], entry["seq"]
            is_found = is_found or previous == head
    result = Head(expected, previous or FIRST)
    return Verdict(
        count, result, "" if is_found else _("the noted head is not in the log: its end was cut off")
    )


def _sealed(start: str) -> tuple[bytes, str]:
    """An object without its end, with the hash of what it was before."""
    raw = start.encode()
    digest = hashlib.sha256(raw).hexdigest()
    return b'%b%b%b"}\n' % (raw, _HASH, digest.encode()), digest


_HASH = b',"hash":"'


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The entry if its own hash is right."""
    start, _mark, rest = line.rpartition(_HASH)
    try:
        entry = json.loads(line)
        is_whole = rest == b'%b"}\n' % hashlib.sha256(start).hexdigest().encode()
        is_entry = isinstance(entry["seq"], int) and isinstance(entry["prev"], str)
        is_entry = is_entry and entry["hash"].encode() == rest[:-3]
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
            _("its last line is damaged"),
            remedy=_("Keep %(path)s as evidence under another name, then restart") % {"path": path},
        )
    return Head(entry["seq"], entry["hash"])


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
