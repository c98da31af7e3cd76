"""A host's clocks as a test wants them: what `blockhost.wall_clock` would ask the kernel."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import pytest

from blockhost import boot_clock, wall_clock


@dataclass
class Clocks:
    """`sleep` is what time does, `jump` what a wall clock may do besides."""

    #: 2026-11-21, ten minutes after a start.
    wall: float = 1_795_219_200.0
    uptime: float = 600.0
    boot: int = 1
    is_synchronised: bool = False

    @classmethod
    def install(cls, monkeypatch: pytest.MonkeyPatch) -> Clocks:
        """Instead of the kernel's, until the test ends."""
        made = cls()
        monkeypatch.setattr(wall_clock, "_wall", lambda: made.wall)
        monkeypatch.setattr(wall_clock, "is_synchronised", lambda: made.is_synchronised)
        monkeypatch.setattr(boot_clock, "seconds", lambda: made.uptime)
        monkeypatch.setattr(boot_clock, "boot_id", lambda: f"boot-{made.boot}")
        return made

    @property
    def now(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.wall, datetime.UTC)

    def sleep(self, seconds: float) -> None:
        self.wall += seconds
        self.uptime += seconds

    def jump(self, seconds: float) -> None:
        self.wall += seconds

    def restart(self, off_s: float = 60.0) -> None:
        """Switched off for so long; the battery's clock went on."""
        self.wall += off_s
        self.uptime, self.boot = 20.0, self.boot + 1
