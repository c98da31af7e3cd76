"""One log file for each step of a run, already redacted, for the log view and the support bundle."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from pathlib import Path
from types import TracebackType
from typing import TextIO

from blockhost.files import make_dir

log = logging.getLogger(__name__)


class StepLogs:
    """Appends lines to `<directory>/<step>.log`; never fsyncs, never fails the step."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open: dict[str, TextIO] = {}

    def __enter__(self) -> StepLogs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._open.values():
            with contextlib.suppress(OSError):  # what a full disk did not take
                file.close()

    def write(self, step_id: str, line: str) -> None:
        """Append one line with the time of day; where the disk takes none, the run goes on without."""
        try:
            self._file(step_id).write(f"{time.strftime('%H:%M:%S')} {line}\n")
        except OSError as error:
            log.warning("cannot write the log of step %s: %s", step_id, error.strerror)

    def _file(self, step_id: str) -> TextIO:
        if step_id not in self._open:
            make_dir(self._directory, mode=0o700)
            self._open[step_id] = append_private(self._directory / f"{step_id}.log")
        return self._open[step_id]


def append_private(path: Path) -> TextIO:
    """Open a log for appending, readable by its owner only from its first instant."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "a", encoding="utf-8", buffering=1)
