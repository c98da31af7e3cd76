"""A terminal that the card is shown on: a screen that is redrawn in place, or a serial line that
gets news as lines."""

from __future__ import annotations

import contextlib
import os
import re
import select
import termios
from collections.abc import Iterator, Sequence

DEFAULT_SIZE = (80, 24)
_SERIAL = re.compile(r"/tty(S|AMA|USB|O|mxc|LP)\d+$|/hvc\d+$|/console$")


class Terminal:
    """Reads keys from and writes to one terminal, given by its descriptors."""

    def __init__(self, reader: int, writer: int, *, is_serial: bool) -> None:
        self._reader = reader
        self._writer = writer
        self.is_serial = is_serial
        self.is_terminal = os.isatty(writer)

    def size(self) -> tuple[int, int]:
        """Columns and lines; a serial line knows neither, so it gets the usual."""
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(self._writer)
            if size.columns and size.lines:
                return size.columns, size.lines
        return DEFAULT_SIZE

    def write(self, text: str) -> None:
        # What the font or line cannot show becomes a question mark, never an exception.
        data = text.encode("ascii" if self.is_serial else "utf-8", "replace")
        while data:
            data = data[os.write(self._writer, data) :]

    def lines(self, lines: Sequence[str]) -> None:
        self.write("".join(f"{line}\n" for line in lines))

    def key(self, seconds: float) -> str:
        """The key that was pressed within `seconds`; empty when none was. None left: EOFError."""
        ready, _, _ = select.select([self._reader], [], [], seconds)
        if not ready:
            return ""
        pressed = os.read(self._reader, 64)
        if not pressed:
            raise EOFError
        return pressed.decode("utf-8", "replace")[:1]

    @contextlib.contextmanager
    def single_keys(self) -> Iterator[None]:
        """Keys without Enter and without echo, as long as the block lasts."""
        if not os.isatty(self._reader):
            yield
            return
        before = termios.tcgetattr(self._reader)
        changed = termios.tcgetattr(self._reader)
        changed[3] &= ~(termios.ICANON | termios.ECHO)
        termios.tcsetattr(self._reader, termios.TCSADRAIN, changed)
        try:
            yield
        finally:
            termios.tcsetattr(self._reader, termios.TCSADRAIN, before)


def is_serial_name(path: str) -> bool:
    return bool(_SERIAL.search(path))
