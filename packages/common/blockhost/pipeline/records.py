"""Progress: one small durable record per step.

An open record (in progress, failed) and the done record are two files, so that the existence of
the done file alone means: the effect was verified. A record that cannot be read proves nothing,
so its step counts as interrupted and its `check` decides.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from blockhost.errors import DamagedFile, FieldError
from blockhost.fields import Fields
from blockhost.files import make_dir, read_json, remove, write_atomic
from blockhost.i18n import gettext as _

log = logging.getLogger(__name__)

SCHEMA = 1


class Status(StrEnum):
    """Where a step stands. In progress with nobody running it means: interrupted."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one step. Times are wall-clock seconds since the epoch, for display only.

    `data` is the step's result for the status API, `config` what it changed in the configuration
    that later steps see, `intent` what it wrote down before an effect that cannot be repeated.
    """

    step_id: str
    status: Status = Status.PENDING
    attempt: int = 0
    error: str = ""
    hint: str = ""
    started_at: float | None = None
    completed_at: float | None = None
    data: dict[str, Any] | None = None
    config: dict[str, Any] = field(default_factory=dict)
    intent: dict[str, Any] | None = None


class RecordStore:
    """The records of one plan in one directory. File names are patterns with `{id}`."""

    def __init__(self, directory: Path, *, done: str = "{id}.done", open: str = "{id}.open") -> None:  # noqa: A002
        self.directory = directory
        self._done = done
        self._open = open

    def done_file(self, step_id: str) -> Path:
        """Where the record of a completed step lies: first boot's marker."""
        return self.directory / self._done.format(id=step_id)

    def open_file(self, step_id: str) -> Path:
        return self.directory / self._open.format(id=step_id)

    def load(self, step_id: str) -> Record:
        """The step's record; a pending one if there is none."""
        for path in (self.done_file(step_id), self.open_file(step_id)):
            try:
                return _parse(path, step_id)
            except FileNotFoundError:
                continue
            except DamagedFile as damage:
                log.warning("%s; step %s will be checked again", damage, step_id)
                return self._salvage(step_id, path)
        return Record(step_id)

    def save(self, record: Record) -> None:
        """Store a record durably before returning."""
        is_done = record.status is Status.COMPLETED
        path = self.done_file(record.step_id) if is_done else self.open_file(record.step_id)
        if not self.directory.is_dir():
            make_dir(self.directory, mode=0o700)
        write_atomic(path, _dump(record), mode=0o600)
        # What the new record replaces goes second: if we die between, the done record wins.
        stale = self.open_file(record.step_id) if is_done else self.done_file(record.step_id)
        if is_done:
            stale.unlink(missing_ok=True)
        else:
            remove(stale)

    def forget(self, step_id: str) -> None:
        """Remove what is known of a step."""
        remove(self.done_file(step_id))
        remove(self.open_file(step_id))

    def all(self, step_ids: Iterable[str]) -> list[Record]:
        return [self.load(step_id) for step_id in step_ids]

    def _salvage(self, step_id: str, damaged: Path) -> Record:
        """What an unreadable record leaves: the step ran, how far is unknown."""
        other = self.open_file(step_id)
        if damaged != other:
            try:
                return _parse(other, step_id)
            except (FileNotFoundError, DamagedFile):
                pass
        return Record(step_id, status=Status.IN_PROGRESS, attempt=1)


def _dump(record: Record) -> str:
    body = asdict(record)
    return json.dumps({"schema": SCHEMA, "sha256": _digest(body), "record": body}, allow_nan=False) + "\n"


def _parse(path: Path, step_id: str) -> Record:
    remedy = _("Remove %(path)s to have the step checked and run again") % {"path": path}
    try:
        document = Fields(read_json(path), source=str(path))
        body = document.take("record", dict)
        if document.take("schema", int) != SCHEMA:
            raise DamagedFile(path, _("unknown schema"), remedy=remedy)
        if document.take("sha256", str) != _digest(body):
            raise DamagedFile(path, _("checksum does not match"), remedy=remedy)
        if body.get("step_id") != step_id:
            raise DamagedFile(
                path, _("belongs to step %(step_id)r") % {"step_id": body.get("step_id")}, remedy=remedy
            )
        return Record(**{**body, "status": Status(body["status"])})
    except (FieldError, TypeError, ValueError) as error:
        raise DamagedFile(path, str(error), remedy=remedy) from error


def _digest(body: object) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
