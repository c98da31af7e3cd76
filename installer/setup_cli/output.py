"""What the operator sees: the result on stdout, everything else on stderr, a bar only on a terminal."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterable
from typing import Any

import yaml

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from installer.answers import Problem

_BOLD, _RED, _YELLOW, _GREEN = "1", "31", "33", "32"


class Terminal:
    """Writes for people or, with another format, for programs."""

    def __init__(self, *, format: str = "text", quiet: bool = False) -> None:  # noqa: A002
        self.format = format
        self._quiet = quiet
        self._live = sys.stderr.isatty() and not quiet
        self._colour = (
            sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        )
        self._bar = ""

    @property
    def is_text(self) -> bool:
        return self.format == "text"

    def result(self, value: Any, text: str) -> None:
        """The command's result, in the format that was asked for."""
        sys.stdout.write(text if self.is_text else _dumped(value, self.format))
        if self.is_text and text and not text.endswith("\n"):
            sys.stdout.write("\n")
        sys.stdout.flush()

    def line(self, text: str) -> None:
        """One line of a result that grows (log lines)."""
        self._clear()
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        self._redraw()

    def tell(self, text: str) -> None:
        """Something that the operator must know."""
        self._clear()
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
        self._redraw()

    def note(self, text: str) -> None:
        """Something that --quiet silences."""
        if not self._quiet:
            self.tell(text)

    def error(self, error: BlockhostError) -> None:
        """An expected error, with what may help."""
        self.end_bar()
        self.tell(self._painted("blockhost-setup: ", _BOLD) + self._painted(str(error), _RED))
        if error.hint:
            self.tell(f"  {error.hint}")

    def problems(self, problems: Iterable[Problem], *, warning: bool = False) -> None:
        """Faults of an answers file, one line each, as compilers write them."""
        for problem in problems:
            mark = self._painted(_("warning: "), _YELLOW) if warning else ""
            self.tell(f"{mark}{problem}")
            if problem.hint:
                self.tell(f"  {problem.hint}")

    def good(self, text: str) -> None:
        self.note(self._painted(text, _GREEN))

    def bar(self, percent: int, label: str) -> None:
        """Show how far the work is; a terminal keeps one line, a log gets nothing."""
        if not self._live:
            return
        width = max(20, shutil.get_terminal_size().columns - 1)
        filled = "█" * (percent * 20 // 100)
        self._clear()
        self._bar = f"{filled:░<20} {percent:3d} % {label}"[:width]
        self._redraw()

    def end_bar(self) -> None:
        """The bar goes away."""
        self._clear()
        self._bar = ""

    def _clear(self) -> None:
        if self._bar:
            sys.stderr.write("\r\x1b[K")

    def _redraw(self) -> None:
        if self._bar:
            sys.stderr.write(self._bar)
            sys.stderr.flush()

    def _painted(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text


def printable(text: str) -> str:
    """A text from elsewhere without anything that steers a terminal."""
    return "".join(character if character.isprintable() else "�" for character in text)


def clock(seconds: float | None) -> str:
    """A point in time as a person reads it."""
    return time.strftime("%H:%M:%S", time.localtime(seconds)) if seconds else ""


def _dumped(value: Any, format: str) -> str:  # noqa: A002
    if format == "yaml":
        return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000))
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
