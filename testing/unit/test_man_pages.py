"""Manual pages tell of every subcommand and option that a command has, and of none that it has not."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from testing.fixtures.installed_commands import commands, leaves, parser_of, subcommands

TOP = Path(__file__).resolve().parents[2]
#: What every command has, and no page repeats.
EVERYWHERE = {"--help", "--version"}


def page_of(name: str) -> Path:
    (page,) = TOP.glob(f"docs/man/{name}.[1-8].md")
    return page


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    own = {word for action in parser._actions for word in action.option_strings if word.startswith("--")}
    return own.union(*(options_of(below) for below in subcommands(parser).values()))


OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


@pytest.mark.parametrize("name", sorted(commands()))
def test_page_has_every_option_and_no_other(name: str) -> None:
    text = page_of(name).read_text()
    # What is said of another program, such as `age --decrypt`, is its own.
    is_ours = re.compile(rf"-|{name}\b")
    own = re.sub(r"`([^`\n]*)`", lambda span: span[0] if is_ours.match(span[1]) else "", text)
    known = options_of(parser_of(name)) - EVERYWHERE
    assert sorted(known - set(OPTION.findall(text))) == [], "the page does not tell of them"
    assert sorted(set(OPTION.findall(own)) - known - EVERYWHERE) == [], "there are no such options"


@pytest.mark.parametrize("name", sorted(commands()))
def test_page_has_every_subcommand(name: str) -> None:
    text = page_of(name).read_text()
    words = [" ".join(leaf.words) for leaf in leaves() if leaf.command == name and leaf.words]
    assert [word for word in words if not re.search(rf"(?<![\w-]){word}(?![\w-])", text)] == []


@pytest.mark.parametrize("name", sorted(commands()))
def test_page_says_how_it_ends(name: str) -> None:
    assert "## Exit status" in page_of(name).read_text()
