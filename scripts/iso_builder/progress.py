"""What a builder sees during long work: the stage, how far it is, how long it takes."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TextIO

STEP_PERCENT = 10  # between two lines where the output is no terminal


class Progress:
    """Prints lines such as `[iso] base: 40 % (31 s)`; rewrites them in place on a terminal."""

    def __init__(self, output: TextIO | None = None) -> None:
        self.output = output or sys.stderr
        self.times: dict[str, float] = {}
        self._stage = ""
        self._started = 0.0
        self._shown = -1

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Bracket one stage; its seconds are kept in `times`."""
        before = self._stage, self._started
        self._stage, self._started, self._shown = name, time.monotonic(), -1
        self._line(f"{name} …")
        yield
        seconds = time.monotonic() - self._started
        self.times[name] = seconds
        self._line(f"{name}: done ({seconds:.1f} s)")
        self._stage, self._started = before

    def cached(self, name: str) -> None:
        """Say that a stage's result was there already."""
        self.times[name] = 0.0
        self._line(f"{name}: unchanged, taken from the cache")

    def percent(self, value: float) -> None:
        """How far the current stage is, 0 to 100."""
        step = 1 if self.output.isatty() else STEP_PERCENT
        rounded = int(value) // step * step
        if rounded > self._shown:
            self._shown = rounded
            seconds = time.monotonic() - self._started
            self._line(f"{self._stage}: {rounded} % ({seconds:.0f} s)", rewrite=self.output.isatty())

    def note(self, text: str) -> None:
        """One line about the current stage."""
        self._line(f"{self._stage}: {text}" if self._stage else text)

    def _line(self, text: str, *, rewrite: bool = False) -> None:
        clear = "\r\033[K" if self.output.isatty() else ""
        self.output.write(f"{clear}[iso] {text}" + ("" if rewrite else "\n"))
        self.output.flush()
