"""The card on a real pseudo-terminal: what is written, when, and what keys do."""

from __future__ import annotations

import json
import os
import pty
import select
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from blockhost import codes
from installer.console import otp_cli
from installer.console.display import Display
from installer.console.facts import CodeFact, CodeState, Facts, WorkFact, read_facts
from installer.console.terminal import Terminal, is_serial_name

FACTS = Facts(
    addresses=("10.0.2.15",),
    local_name="blockhost.local",
    port=443,
    fingerprint=":".join(["AB"] * 32),
    code=CodeFact(CodeState.USABLE, "ABCDEFGH", 14399),
    first_boot=WorkFact(10, 10),
)


class Screen:
    """A pseudo-terminal with a card on it; `facts` is what the host says now."""

    def __init__(self, *, is_serial: bool) -> None:
        self.ours, theirs = pty.openpty()
        self.theirs = theirs
        self.facts = FACTS
        self.display = Display(Terminal(theirs, theirs, is_serial=is_serial), lambda: self.facts)

    def written(self) -> str:
        """What was written since the last question."""
        text = b""
        while select.select([self.ours], [], [], 0.05)[0]:
            text += os.read(self.ours, 65536)
        return text.decode()

    def refresh(self, facts: Facts | None = None) -> str:
        self.facts = facts or self.facts
        self.display.refresh()
        return self.written()

    def press(self, key: str) -> str:
        self.display.press(key)
        return self.written()


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BLOCKHOST_ROOT", str(tmp_path))
    (tmp_path / "var/log").mkdir(parents=True)
    return tmp_path


@pytest.fixture(params=[True, False], ids=["serial", "screen"])
def screen(request: pytest.FixtureRequest) -> Iterator[Screen]:
    screen = Screen(is_serial=request.param)
    yield screen
    os.close(screen.ours)
    os.close(screen.theirs)


@pytest.fixture
def serial() -> Iterator[Screen]:
    screen = Screen(is_serial=True)
    yield screen
    os.close(screen.ours)
    os.close(screen.theirs)


def test_nothing_new_writes_nothing(screen: Screen) -> None:
    assert "ABCD-EFGH" in screen.refresh()
    assert screen.refresh() == ""


def test_time_running_down_is_silent_on_a_serial_line(serial: Screen) -> None:
    serial.refresh()
    assert serial.refresh(replace(FACTS, code=CodeFact(CodeState.USABLE, "ABCDEFGH", 8000))) == ""


def test_serial_news_are_whole_lines_and_only_the_new_ones(serial: Screen) -> None:
    first = serial.refresh()
    assert "Address:     https://10.0.2.15/\r\n" in first
    assert f"Fingerprint: SHA256 {FACTS.fingerprint}\r\n" in first
    assert first.isascii()
    news = serial.refresh(replace(FACTS, code=CodeFact(CodeState.USED)))
    assert news == "Code:        used; press r for a new one\r\n"


def test_screen_rewrites_only_the_lines_that_changed(root: Path) -> None:
    screen = Screen(is_serial=False)
    screen.refresh()
    news = screen.refresh(replace(FACTS, local_name="other.local"))
    assert "other.local" in news
    assert "\x1b[2J" not in news
    assert "Address" not in news
    os.close(screen.ours)
    os.close(screen.theirs)


def test_used_code_leaves_the_screen(screen: Screen) -> None:
    screen.refresh()
    screen.refresh(replace(FACTS, code=CodeFact(CodeState.USED)))
    screen.display._shown = []
    assert "ABCD" not in screen.refresh()


def test_key_r_makes_a_new_code(screen: Screen) -> None:
    screen.refresh()
    screen.press("r")
    fresh = codes.current()
    assert fresh is not None
    assert fresh.is_usable


def test_key_l_shows_the_log_without_control_characters(serial: Screen, root: Path) -> None:
    (root / "var/log/blockhost-firstboot.log").write_text("one\n\x1b[2Jtwo\n")
    text = serial.press("l")
    assert "one\r\n" in text
    assert "\x1b" not in text


def test_key_q_draws_ascii(serial: Screen) -> None:
    serial.refresh()
    assert serial.press("q").count("##") > 300


def test_other_keys_paint_the_card_again(screen: Screen) -> None:
    screen.refresh()
    screen.display.press(" ")
    assert "ABCD-EFGH" in screen.refresh()


@pytest.mark.parametrize(
    ("name", "serial"),
    [
        ("/dev/ttyS0", True),
        ("/dev/ttyAMA0", True),
        ("/dev/hvc0", True),
        ("/dev/tty1", False),
        ("/dev/pts/3", False),
    ],
)
def test_serial_lines_are_recognised(name: str, serial: bool) -> None:
    assert is_serial_name(name) is serial


def test_facts_of_an_empty_host_are_gaps_not_errors(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKHOST_PATH", str(root))
    facts = read_facts()
    assert facts.addresses == ()
    assert facts.code.state is CodeState.NONE
    assert facts.first_boot.total == 10
    json.dumps(facts.to_json())


def test_facts_follow_the_code(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKHOST_PATH", str(root))
    code = codes.issue()
    assert read_facts().code.code == code.code
    for _ in range(codes.MAX_ATTEMPTS):
        codes.verify("wrong")
    locked = read_facts().code
    assert (locked.state, locked.code) == (CodeState.LOCKED, "")
    again = codes.issue()
    codes.verify(again.code)
    used = read_facts().code
    assert (used.state, used.code) == (CodeState.USED, "")


def test_otp_command_renews_and_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert otp_cli.main([]) == 0
    shown = capsys.readouterr().out.strip()
    current = codes.current()
    assert current is not None
    assert codes.normalize(shown) == current.code
    assert otp_cli.main(["--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["code"] != current.code


def test_otp_command_refuses_short_codes_and_a_finished_setup(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert otp_cli.main(["--length", "4"]) == 1
    assert "too easy to guess" in capsys.readouterr().err
    (root / "var/lib/blockhost").mkdir(parents=True)
    (root / "var/lib/blockhost/.setup-complete").touch()
    assert otp_cli.main([]) == 1
    assert "setup is complete" in capsys.readouterr().err
