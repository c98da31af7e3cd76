"""What first boot does at this moment, for the card: a small file in /run, replaced at most twice a
second, so that a step which prints a lot costs nothing."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from pathlib import Path

from blockhost import boot_clock, paths
from blockhost.errors import DamagedFile
from blockhost.files import make_dir, read_json, remove, write_json

INTERVAL_S = 0.5


@dataclass(frozen=True, slots=True)
class Doing:
    """The step at work: since when (boot clock), how far, and its last word."""

    step_id: str
    since: float
    fraction: float = 0.0
    message: str = ""


def progress_file() -> Path:
    return paths.run_dir() / "firstboot-progress.json"


def read_progress() -> Doing | None:
    """What first boot does now; None when it is at rest."""
    try:
        return Doing(**read_json(progress_file()))
    except (FileNotFoundError, DamagedFile, TypeError):
        return None


class ProgressFile:
    """Writes the file; never fails first boot."""

    def __init__(self) -> None:
        self._doing: Doing | None = None
        self._written = 0.0

    def begin(self, step_id: str) -> None:
        self._write(Doing(step_id, boot_clock.seconds()), at_once=True)

    def note(self, step_id: str, message: str, fraction: float | None = None) -> None:
        before = self._doing
        if before is None or before.step_id != step_id:
            before = Doing(step_id, boot_clock.seconds())
        done = before.fraction if fraction is None else fraction
        self._write(Doing(step_id, before.since, done, message[:200]), at_once=False)

    def stop(self, step_id: str, message: str) -> None:
        """The last word of a try that no record can tell of."""
        self._write(Doing(step_id, boot_clock.seconds(), message=message), at_once=True)

    def end(self) -> None:
        with contextlib.suppress(OSError):
            remove(progress_file())

    def _write(self, doing: Doing, *, at_once: bool) -> None:
        self._doing = doing
        now = boot_clock.seconds()
        if not at_once and now - self._written < INTERVAL_S:
            return
        self._written = now
        with contextlib.suppress(OSError):
            if not progress_file().parent.is_dir():
                make_dir(progress_file().parent, mode=0o750)
            write_json(progress_file(), asdict(doing), mode=0o600)
