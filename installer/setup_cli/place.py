"""Where this program lies: installed on an appliance, or in a source tree."""

from __future__ import annotations

import contextlib
from pathlib import Path

from blockhost import command
from blockhost.errors import BlockhostError


def version() -> str:
    """Of the installed package; a source tree has none."""
    with contextlib.suppress(BlockhostError):
        done = command.probe(["dpkg-query", "-W", "-f=${Version}", "blockhost-installer"], timeout=10)
        if done.code == 0 and done.stdout:
            return done.stdout
    return "(source)"


def source_tree() -> Path | None:
    """The root of the source tree that this file lies in, or None where it is installed."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").exists() and (root / "plugins").is_dir() else None
