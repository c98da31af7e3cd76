"""What the package builder raises on purpose."""

from __future__ import annotations

from blockhost.errors import BlockhostError


class BuildError(BlockhostError):
    """A package cannot be built; the message names the package or file."""
