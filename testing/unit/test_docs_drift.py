"""Documentation that the code can write is what the code says; links lead somewhere."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

import reference_docs.__main__ as reference_docs

TOP = Path(__file__).resolve().parents[2]
ACTION_MODULES = [
    *TOP.glob("*/root-agent-actions/*.py"),
    *TOP.glob("*/*/root-agent-actions/*.py"),
]
PAGES = sorted([*TOP.glob("*.md"), *TOP.glob("docs/**/*.md"), *TOP.glob("*/*/README.md")])


@pytest.mark.parametrize("name", reference_docs.PAGES)
def test_reference_is_what_the_code_says(name: str) -> None:
    written = (TOP / "docs/reference" / name).read_text()
    assert written == reference_docs.PAGES[name](TOP), "run `make docs`"


def test_every_root_action_stands_in_the_reference_with_its_parameters() -> None:
    text = (TOP / "docs/reference/root-agent.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    modules = [file for file in ACTION_MODULES if not file.name.startswith("_")]
    actions = {
        name: action for file in modules for name, action in runpy.run_path(str(file))["ACTIONS"].items()
    }
    assert len(actions) > 20
    for name, action in actions.items():
        short = f"`-{name.partition('-')[2]}`"  # `virsh-start`, `-shutdown`, …
        found = [
            row for row in rows if f"`{name}`" in row or (short in row and name.partition("-")[0] in row)
        ]
        assert found, name
        assert [each.name for each in action.parameters if f"`{each.name}`" not in found[0]] == [], name


def test_every_unit_stands_in_the_reference() -> None:
    text = (TOP / "docs/reference/packages.md").read_text()
    units = [*TOP.glob("systemd/*.service"), *TOP.glob("*/*/systemd/*.service")]
    assert len(units) > 7
    assert [unit.name for unit in units if f"| `{unit.stem}`" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]+`(?!\])", "", page.read_text(), flags=re.DOTALL)  # not what is code
    targets = re.findall(r"\]\(([^)#\s]+)", text)
    local = [target for target in targets if "://" not in target]
    assert not [target for target in local if not (page.parent / target).exists()]


def test_make_targets_in_the_docs_exist() -> None:
    makefiles = [TOP / "Makefile", *TOP.glob("scripts/*.mk"), *TOP.glob("testing/*/*.mk")]
    targets = {
        match[1]
        for file in makefiles
        for match in re.finditer(r"^([a-z-]+):", file.read_text(), re.MULTILINE)
    }
    used = {match[1] for page in PAGES for match in re.finditer(r"`make ([a-z-]+)", page.read_text())}
    assert used <= targets
