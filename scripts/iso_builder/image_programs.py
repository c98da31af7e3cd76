"""Programs of the image's release, run on the build machine by their own loader, without a chroot."""

from __future__ import annotations

import re
from pathlib import Path

from blockhost.command import run

LIBRARIES = "usr/lib/x86_64-linux-gnu"
LOADER = "usr/lib64/ld-linux-x86-64.so.2"


def argv(root: Path, program: str) -> list[str]:
    """How to start `program` (a path inside `root`) from outside."""
    return [str(root / LOADER), "--library-path", str(root / LIBRARIES), str(root / program)]


def libraries(root: Path, program: str) -> dict[str, Path]:
    """The shared libraries that the program loads, by name."""
    loader, *options, path = argv(root, program)
    listing = run([loader, *options, "--list", path])
    return {name: Path(place) for name, place in re.findall(r"(\S+) => (\S+)", listing)}
