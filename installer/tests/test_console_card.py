"""The card: its text on a serial line and on a screen, and what it hides."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from installer.console import card, qr
from installer.console.facts import CodeFact, CodeState, Facts, WorkFact
from installer.console.svg import render_svg

PICTURE = Path(__file__).resolve().parents[2] / "docs/pictures/console-card.svg"
FINGERPRINT = ":".join(f"{octet:02X}" for octet in range(32))
DONE = WorkFact(10, 10)
FACTS = Facts(
    addresses=("10.0.2.15", "fd00::2"),
    local_name="blockhost.local",
    port=443,
    fingerprint=FINGERPRINT,
    code=CodeFact(CodeState.USABLE, "ABCDEFGH", 14399),
    first_boot=DONE,
    version="0.1.0",
)

SERIAL = f"""\
BlockHost 0.1.0
Address:     https://10.0.2.15/
Name:        https://blockhost.local/
Fingerprint: SHA256 {FINGERPRINT}
Code:        ABCD-EFGH
Valid for:   3 h 59 min
More:        https://[fd00::2]/
Keys: r new code, l log, q QR code, h help"""

SCREEN = """\
BlockHost 0.1.0

Address:     https://10.0.2.15/
Name:        https://blockhost.local/
Fingerprint: SHA256 00:01:02:03:04:05:06:07
                    08:09:0A:0B:0C:0D:0E:0F
                    10:11:12:13:14:15:16:17
                    18:19:1A:1B:1C:1D:1E:1F
Code:        ABCD-EFGH
Valid for:   3 h 59 min

More:        https://[fd00::2]/

Keys: r new code, l log, q QR code, h help"""


def test_serial_lines_are_one_fact_each() -> None:
    assert "\n".join(card.serial_lines(FACTS)) == SERIAL


def test_narrow_screen_has_the_text_alone() -> None:
    assert "\n".join(card.screen_lines(FACTS, width=50, height=30)) == SCREEN


def test_usual_screen_has_the_qr_code_beside() -> None:
    lines = card.screen_lines(FACTS, width=79, height=24)
    assert len(lines) <= 24
    assert max(len(line) for line in lines) <= 79
    assert sum("█" in line for line in lines) >= 14
    assert lines[2].startswith("Address:     https://10.0.2.15/")


@pytest.mark.parametrize(("width", "height"), [(79, 12), (20, 5), (40, 24), (200, 60), (12, 3)])
def test_every_screen_size_is_kept(width: int, height: int) -> None:
    lines = card.screen_lines(FACTS, width=width, height=height)
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)


def test_link_carries_the_code_in_its_fragment() -> None:
    assert FACTS.link() == "https://10.0.2.15/#ABCDEFGH"
    assert replace(FACTS, addresses=("fd00::2",)).link() == "https://[fd00::2]/#ABCDEFGH"
    assert replace(FACTS, port=8443).link() == "https://10.0.2.15:8443/#ABCDEFGH"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (CodeState.USED, "used"),
        (CodeState.LOCKED, "locked"),
        (CodeState.EXPIRED, "expired"),
        (CodeState.NONE, "not issued"),
    ],
)
def test_code_that_cannot_be_used_is_not_shown(state: CodeState, words: str) -> None:
    facts = replace(FACTS, code=CodeFact(state, "ABCDEFGH"))  # even if it leaked into the facts
    for text in (
        "\n".join(card.serial_lines(facts)),
        "\n".join(card.screen_lines(facts, width=79, height=24)),
    ):
        assert words in text
        assert "ABCD" not in text
        assert "█" not in text
    assert facts.link() == ""


def test_failed_step_is_shown_with_its_hint_and_nothing_obeys_it() -> None:
    work = WorkFact(3, 10, failed="Make the bridge", error="no \x1b[31mgateway\n", hint="plug in")
    text = "\n".join(card.serial_lines(replace(FACTS, first_boot=work)))
    assert "First boot:  3 of 10" in text
    assert "Failed:      Make the bridge: no  [31mgateway" in text
    assert "Hint:        plug in" in text
    assert "\x1b" not in text


def test_long_work_says_that_it_is_long() -> None:
    work = WorkFact(1, 10, doing="Check the packages", message="waiting for dpkg", seconds=90, expected_s=30)
    text = "\n".join(card.serial_lines(replace(FACTS, first_boot=work)))
    assert "First boot:  1 of 10  Check the packages" in text
    assert "waiting for dpkg" in text
    assert "longer than usual (expected up to 30 s)" in text


def test_run_of_the_setup_is_shown() -> None:
    facts = replace(FACTS, run=WorkFact(4, 13, doing="template"), run_status="running")
    assert "Setup:       4 of 13  template" in card.serial_lines(facts)


def test_after_setup_the_panel_is_shown_and_no_code() -> None:
    facts = replace(FACTS, setup_complete=True, panel="https://box/admin/")
    text = "\n".join(card.serial_lines(facts))
    assert "Panel:       https://box/admin/" in text
    assert "all services run" in text
    assert "Code" not in text
    stopped = replace(facts, stopped_units=("nginx.service",))
    assert "State:       not running: nginx.service" in card.serial_lines(stopped)


def test_without_any_address_the_card_says_what_to_do() -> None:
    text = "\n".join(card.serial_lines(replace(FACTS, addresses=())))
    assert "none yet; plug in a network cable" in text


def test_qr_code_decodes_to_the_same_modules_in_both_forms() -> None:
    modules = qr.matrix(FACTS.link())
    blocks = qr.ascii_blocks(modules)
    assert [[cell == "  " for cell in _pairs(line)] for line in blocks] == [list(row) for row in modules]
    halves = qr.half_blocks(modules)
    light_above = {"█", "▀"}
    assert [[cell not in light_above for cell in line] for line in halves] == [
        list(row) for row in modules[::2]
    ]


def test_picture_has_every_line_and_is_well_formed() -> None:
    from xml.etree import ElementTree

    picture = render_svg(FACTS)
    ElementTree.fromstring(picture)
    for words in ("https://10.0.2.15/", "ABCD-EFGH", "18:19:1A", "<path", "Code:\u00a0"):
        assert words in picture


def test_picture_in_the_documents_is_of_this_card() -> None:
    """`BLOCKHOST_UPDATE_PICTURES=1` draws it anew."""
    code = replace(FACTS, code=CodeFact(CodeState.USABLE, "K7MP2WQX", 14399), addresses=("192.168.1.20",))
    picture = render_svg(code)
    if os.environ.get("BLOCKHOST_UPDATE_PICTURES"):
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        PICTURE.write_text(picture)
    assert PICTURE.read_text() == picture


def _pairs(line: str) -> list[str]:
    return [line[at : at + 2] for at in range(0, len(line), 2)]
