"""The reference page keeps up with the code: every field, command and option has its word there."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest
import yaml

from installer.answers import SECTIONS
from installer.answers.schema import document_schema
from installer.setup_cli import program
from installer.setup_cli.commands import ALL
from installer.setup_cli.plugins import find_plugins

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "answers.md").read_text()


@pytest.mark.parametrize("section", SECTIONS)
def test_each_field_is_described(section: str) -> None:
    schema = document_schema(find_plugins())["properties"][section]
    variants = schema.get("anyOf", [schema])
    names = {name for variant in variants for name in variant["properties"]}
    assert names, section
    assert {name for name in names if f"`{name}`" not in PAGE} == set()


def test_each_command_and_its_options_are_described() -> None:
    missing = [module.__name__ for module in ALL if f"| `{module.__name__.rpartition('.')[2]}" not in PAGE]
    assert missing == []
    parser = program._parser()
    commands = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    options = {
        option
        for command in commands.choices.values()
        for option in command._option_string_actions
        if option.startswith("--") and option not in ("--help", "--output", "--text")
    }
    assert len(options) > 10
    assert {option for option in options if option not in PAGE} == set()


def test_the_page_s_own_example_is_valid(tmp_path: Path) -> None:
    block = next(text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "version: 1" in text)
    assert set(yaml.safe_load(block)) == {"version", *SECTIONS}
    path = tmp_path / "answers.yaml"
    path.write_text(block)
    assert program.main(["validate", "--strict", str(path)]) == 0


def test_links_of_the_page_lead_somewhere() -> None:
    anchors = {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
               for title in re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)}  # fmt: skip
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        else:
            assert (ROOT / "docs" / "reference" / target).exists(), target
