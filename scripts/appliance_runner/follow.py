"""Watching a VM's serial line: what is worth saying goes to the terminal, the rest to its log."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pexpect

from appliance_runner.card import Card, plain, read_card
from blockhost.errors import BlockhostError
from testing.vm.qemu import VirtualMachine

INSTALLER_LINE = re.compile(r"^\[blockhost (\d+)s\] (.*)$")
INSTALLED = "INSTALL OK"
STOPPED = ("INSTALL STOPPED", "INSTALL FAILED")
SHOWN = re.compile(r"^(\[blockhost \d+s\] |First boot:|Failed:|Hint:)")
QUIET_S = 60.0  # say that we still wait after this long without news

Say = Callable[[str], None]


class Follower:
    """Reads one VM's serial line from now on."""

    def __init__(self, vm: VirtualMachine, say: Say) -> None:
        self.vm = vm
        self.say = say
        self.text = ""
        self._rest = ""
        self._last_said = ""
        self._last_news = time.monotonic()

    def until_installed(self, timeout: float) -> None:
        """Show the installation's steps until it is done.

        Raises:
            BlockhostError: the installer stopped, or took too long.
        """
        self._read_until(lambda: INSTALLED in self.text, timeout, "installation")

    def until_card(self, timeout: float) -> Card:
        """Show first boot's steps until the console card has all that a browser needs.

        Raises:
            BlockhostError: there is no card in time.
        """
        self._read_until(lambda: read_card(self.text) is not None, timeout, "console card")
        card = read_card(self.text)
        assert card is not None
        return card

    def forget(self) -> None:
        """Start anew: what was shown before a restart no longer counts."""
        self.text = ""

    def _read_until(self, done: Callable[[], bool], timeout: float, what: str) -> None:
        deadline = time.monotonic() + timeout
        while not done():
            if time.monotonic() > deadline:
                raise BlockhostError(f"no {what} within {timeout:.0f} s", hint=f"See {self.vm.log}")
            self._read_some()
            self._refuse_stop()

    def _read_some(self) -> None:
        try:
            chunk = self.vm.serial.read_nonblocking(65536, timeout=2)
        except pexpect.TIMEOUT:
            if time.monotonic() - self._last_news > QUIET_S:
                self._news("… still working")
            return
        except pexpect.EOF:
            raise BlockhostError("the VM has ended", hint=f"See {self.vm.log}") from None
        self.text += chunk
        *lines, self._rest = plain(self._rest + chunk).split("\n")
        for line in lines:
            if SHOWN.match(line) and line != self._last_said:
                self._news(line)

    def _news(self, line: str) -> None:
        self._last_said, self._last_news = line, time.monotonic()
        self.say(line)

    def _refuse_stop(self) -> None:
        for line in plain(self.text).splitlines():
            if any(word in line for word in STOPPED):
                reason = INSTALLER_LINE.sub(r"\2", line)
                raise BlockhostError(
                    reason, hint=f"The VM's serial log is {self.vm.log}; FRESH=1 starts over"
                )
