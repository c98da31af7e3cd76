"""Where this program lies: installed on an appliance, or in a source tree."""

from __future__ import annotations

from pathlib import Path


def source_tree() -> Path | None:
    """The root of the source tree that this file lies in, or None where it is installed."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").exists() and (root / "plugins").is_dir() else None
