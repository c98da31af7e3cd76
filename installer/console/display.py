"""Shows the card and keeps it true: writes only what changed since the last look."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from blockhost import codes
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from installer.console import card, qr
from installer.console.facts import Facts
from installer.console.terminal import Terminal
from installer.firstboot.hooks import log_file

LOOK_EVERY_S = 1.0
#: How long help or log stand on a screen before the card comes back by itself.
PAGE_S = 30.0
LOG_LINES = 15


class Display:
    """One terminal's card."""

    def __init__(self, terminal: Terminal, read_facts: Callable[[], Facts]) -> None:
        self._terminal = terminal
        self._read_facts = read_facts
        self._shown: list[str] = []
        self._size = (0, 0)
        self._facts: Facts | None = None

    def loop(self) -> None:
        """Show the card until the terminal goes away."""
        with self._terminal.single_keys():
            while True:
                self.refresh()
                try:
                    self.press(self._terminal.key(LOOK_EVERY_S))
                except EOFError:
                    return

    def refresh(self) -> None:
        """Look again, and write what is new."""
        facts = self._read_facts()
        self._facts = facts
        if self._terminal.is_serial:
            self._write_news(facts)
        else:
            self._redraw(facts)

    def press(self, key: str) -> None:
        """Do what a key asks for; unknown keys paint the card anew."""
        match key.lower():
            case "":
                return
            case "r":
                self._renew()
            case "l":
                self._page(last_lines())
            case "h" | "?":
                self._page(card.help_lines())
            case "q":
                self._page(self._plain_qr())
            case _:
                self._shown = []

    def _renew(self) -> None:
        if self._facts is not None and self._facts.setup_complete:
            return
        try:
            codes.issue()
        except (BlockhostError, OSError) as error:
            self._page([_("no new code: {error}").format(error=error)])

    def _plain_qr(self) -> list[str]:
        link = self._facts.link() if self._facts else ""
        return qr.ascii_blocks(qr.matrix(link)) if link else [_("there is no usable code; press r")]

    def _page(self, lines: Sequence[str]) -> None:
        """Something else than the card: below it on a line, instead of it on a screen."""
        if self._terminal.is_serial:
            self._terminal.lines(lines)
            return
        self._terminal.write("\x1b[2J\x1b[H")
        self._terminal.lines([*lines, "", _("Press a key to go back")])
        self._terminal.key(PAGE_S)
        self._shown = []

    def _write_news(self, facts: Facts) -> None:
        """Lines that were not on the card before. Time running down alone is no news."""
        lines = card.serial_lines(facts)
        passing = {row.line() for row in card.rows(facts) if row.volatile}
        new = [line for line in lines if line not in self._shown]
        if any(line not in passing for line in new):
            self._terminal.lines(new)
            self._shown = lines

    def _redraw(self, facts: Facts) -> None:
        size = self._terminal.size()
        # The last column and line stay free: writing there would scroll some terminals.
        lines = card.screen_lines(facts, width=size[0] - 1, height=size[1] - 1)
        if not self._shown or size != self._size:
            self._terminal.write("\x1b[?25l\x1b[2J")
            self._shown, self._size = [""] * len(lines), size
        before = [*self._shown, *[""] * (len(lines) - len(self._shown))]
        after = [*lines, *[""] * (len(before) - len(lines))]
        changed = [
            f"\x1b[{number};1H{line}\x1b[K"
            for number, (line, old) in enumerate(zip(after, before, strict=True), start=1)
            if line != old
        ]
        if changed:
            self._terminal.write("".join(changed) + f"\x1b[{len(after) + 1};1H")
        self._shown = lines


def last_lines(count: int = LOG_LINES) -> list[str]:
    """The end of first boot's log; the worker's run has its own page in the wizard."""
    try:
        with log_file().open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 200 * count))
            text = file.read().decode("utf-8", "replace")
    except OSError as error:
        return [_("{file}: {error}").format(file=log_file(), error=error.strerror or error)]
    return [card.plain(line) for line in text.splitlines()[-count:]]
