"""Every command's own help, so that the reference cannot say otherwise."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

from blockhost import command
from reference_docs.installed import CODE_PATHS

HEAD = """# Commands

Written by `make docs` from each command's `--help`; a test holds them together.

Exit code 0 means success, 1 refused or failed (stderr says why, and what to try), 2 wrong usage, 130 interrupted. stdout carries the result, stderr everything else. `--format json` where a program may want to read along. Options are written out: there are no abbreviations. Each has a man page.
"""


def page(top: Path) -> str:
    """The page's text."""
    parts = [HEAD]
    for file in sorted([*top.glob("*/debian/build.toml"), *top.glob("*/*/debian/build.toml")]):
        launchers = tomllib.loads(file.read_text()).get("launchers", {})
        if launchers:
            parts.append(f"\n## {file.parents[1].relative_to(top)}\n")
        for name, target in sorted(launchers.items()):
            parts.append(f"\n### {name}\n\n```\n{_help(top, name, target)}\n```\n")
    return "".join(parts)


def _help(top: Path, name: str, target: str) -> str:
    module, _, function = target.partition(":")
    code = f"import sys; from {module} import {function}; sys.argv[0] = {name!r}; sys.exit({function}())"
    env = {
        "PYTHONPATH": os.pathsep.join(str(top / part) for part in CODE_PATHS),
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "LANGUAGE": "C",
    }
    return command.run([sys.executable, "-c", code, "--help"], env=env, cwd=top).strip()
