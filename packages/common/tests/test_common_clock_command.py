"""`blockhost-clock`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from blockhost import wall_clock
from blockhost.wall_clock import cli
from testing.fakes.clocks import Clocks

DAY = 86_400.0


def test_operators_word_counts(
    root: Path, monkeypatch: pytest.MonkeyPatch, runs: Callable[..., Callable[..., tuple[int, str, str]]]
) -> None:
    clocks, run = Clocks.install(monkeypatch), runs(cli.main)
    wall_clock.note(lambda: None)
    code, out, err = run("show")
    assert (code, out.splitlines()[2], err) == (0, "relied on:    yes", "")
    clocks.restart(off_s=21 * DAY)
    code, out, err = run("show")
    assert (code, out.splitlines()[1:]) == (1, ["time server:  not synchronised", "relied on:    no"])
    assert f"it says {clocks.now:%Y-%m-%d %H:%M} UTC" in err
    assert "blockhost-clock trust" in err
    code, out, _err = run("trust")
    assert (code, out) == (0, f"{clocks.now:%Y-%m-%d %H:%M} UTC\n")
    assert wall_clock.read() == wall_clock.Reading(clocks.now)
    assert run("show")[0] == 0
