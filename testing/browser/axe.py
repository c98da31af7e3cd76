"""Accessibility checks by axe-core, from the project's own development install below build/."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from blockhost.command import run

TOP = Path(__file__).resolve().parents[2]
FOLDER = TOP / "build/node"
VERSION = "4.14.1"
#: WCAG 2.2 A and AA, and what axe's authors call best practice.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@cache
def source() -> str:
    """axe-core's script; installed on first use, by npm as it is configured on this machine."""
    script = FOLDER / "node_modules/axe-core/axe.min.js"
    if not script.is_file():
        FOLDER.mkdir(parents=True, exist_ok=True)
        run(
            ["npm", "install", "--prefix", FOLDER, "--no-audit", "--no-fund", f"axe-core@{VERSION}"],
            timeout=300,
        )
    return script.read_text()


def violations(page: Any) -> list[str]:
    """What is wrong with the page as it is shown now, one line for each element."""
    page.evaluate(source())
    found = page.evaluate(
        "tags => axe.run(document, { runOnly: { type: 'tag', values: tags } })",
        TAGS,
    )
    assert found["passes"], "axe looked at nothing"
    return [
        f"{rule['id']}: {node['html'][:200]} ({'; '.join(node['failureSummary'].splitlines()[1:2])})"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
