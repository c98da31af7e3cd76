"""The steps of first boot and finalization, from the plans themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blockhost.pipeline import Step
from installer.finalize.plan import plan
from installer.firstboot.plan import steps as first_boot
from reference_docs.installed import with_plugins

HEAD = """# Steps

Written by `make docs` from the plans; a test holds them together.

**check**: the step can see whether its effect is in place, so work that is there is recognised. **plan**: the summary lists its changes. Expected and longest duration in seconds; past the longest, the step is stopped and has failed. What a step promises stands in [add a step](../how-to/add-a-step.md).
"""

COLUMNS = """
| step | what it does | check | plan | irreversible | expected | longest |
|---|---|---|---|---|---|---|
"""


def page(top: Path) -> str:
    """The page's text."""
    with with_plugins(top):
        return HEAD + _section("First boot", first_boot()) + _section("Finalization", plan())


def _section(title: str, steps: Sequence[Step]) -> str:
    rows = [
        f"| `{step.id}` | {step.label} | {_mark(step.check)} | {_mark(step.plan)} "
        f"| {'yes' if step.irreversible else ''} | {step.expect_s[0]:g}–{step.expect_s[1]:g} "
        f"| {step.timeout_s:g} |\n"
        for step in steps
    ]
    return f"\n## {title}\n{COLUMNS}{''.join(rows)}"


def _mark(part: object) -> str:
    return "yes" if part is not None else ""
