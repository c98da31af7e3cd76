"""Manual pages: every command has one, and man(1) finds nothing to complain about."""

from __future__ import annotations

from pathlib import Path

import pytest

from blockhost.command import probe, run
from deb_builder.errors import BuildError
from deb_builder.manpage import render
from testing.integration import deb_tree

PAGES = sorted((deb_tree.ROOT / "docs/man").glob("*.[1-8].md"))
EXAMPLE = """# thing(1) — do one thing

## Synopsis
```
thing [--loud] 'it' ~/x
```

## Description
It does **one** *thing* with `--loud -x`.
.dots at the start — and a \\ backslash

## Options
- `--loud` — say so
- just a point
"""


def rendered(text: str) -> str:
    return render(text, source="thing.1.md", version="0.1.0", epoch=1700000000)


def shown(roff: str, file: Path) -> tuple[str, str]:
    """What man(1) prints, and what it warns of."""
    file.write_text(roff)
    env = {"MANWIDTH": "100", "MANPAGER": "cat"}
    done = probe(["man", "--warnings=all", "--local-file", file], env=env)
    assert done.code == 0, done.stderr
    return done.stdout, done.stderr


def test_everything_written_is_shown(tmp_path: Path) -> None:
    text, warnings = shown(rendered(EXAMPLE), tmp_path / "thing.1")
    assert warnings == ""
    for words in (
        "thing - do one thing",
        "thing [--loud] 'it' ~/x",
        "one thing with --loud -x.",
        ".dots at the start — and a \\ backslash",
        "--loud",
        "say so",
        "just a point",
    ):
        assert words in text, text


def test_same_input_same_bytes() -> None:
    assert rendered(EXAMPLE) == rendered(EXAMPLE)
    assert '"2023-11-14" "BlockHost 0.1.0"' in rendered(EXAMPLE)


@pytest.mark.parametrize("first", ["", "thing", "# thing — no section", "# thing(9) — no such section"])
def test_a_page_without_its_title_is_refused(first: str) -> None:
    with pytest.raises(BuildError, match=r"thing\.1\.md: the first line"):
        rendered(f"{first}\n\nText\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_man_has_nothing_to_complain_about(page: Path, tmp_path: Path) -> None:
    roff = render(page.read_text(), source=page.name, version="0", epoch=0)
    file = tmp_path / page.stem
    _, warnings = shown(roff, file)
    assert warnings == ""
    # whatis(1) reads the NAME section only if it is well formed.
    assert page.stem.partition(".")[0] in run(["lexgrog", file])


def test_every_command_has_a_page() -> None:
    commands = {command for recipe in deb_tree.recipes() for command in recipe.launchers}
    assert len(commands) > 15
    assert sorted(commands - {page.name.partition(".")[0] for page in PAGES}) == []


def test_a_page_is_named_like_its_title() -> None:
    for page in PAGES:
        name, section = page.name.split(".")[:2]
        assert page.read_text().startswith(f"# {name}({section}) — "), page
