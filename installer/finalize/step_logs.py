"""One log file for each step of a run, already redacted, for the log view and the support bundle."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType
from typing import TextIO

from blockhost.files import make_dir


class StepLogs:
    """Appends lines to `<directory>/<step>.log`; never fsyncs, never fails the step."""

    def __init__(self, directory: Path) -> None:
        self._directory = make_dir(directory, mode=0o700)
        self._open: dict[str, TextIO] = {}

    def __enter__(self) -> StepLogs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._open.values():
            file.close()

    def write(self, step_id: str, line: str) -> None:
        """Append one line with the time of day."""
        file = self._open.get(step_id)
        if file is None:
            file = append_private(self._directory / f"{step_id}.log")
            self._open[step_id] = file
        file.write(f"{time.strftime('%H:%M:%S')} {line}\n")


def append_private(path: Path) -> TextIO:
    """Open a log for appending, readable by its owner only from its first instant."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "a", encoding="utf-8", buffering=1)
