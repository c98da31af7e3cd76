"""The command `blockhost-setup`: answers files, and a setup driven or watched from a terminal."""

from __future__ import annotations

from installer.setup_cli.program import main

__all__ = ["main"]
