"""File times that do not tell when something was built."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def settle(top: Path, *, started: float, at_least: int) -> int:
    """Give everything made since `started` one fixed time; return that time.

    Files from packages keep theirs, as byte code is valid only for its source's time. The fixed time is
    the newest of those, so it depends on contents alone.
    """
    entries = list(_entries(top))
    from_packages = (int(entry.st_mtime) for _, entry in entries if entry.st_mtime < started)
    fixed = max(at_least, *from_packages, 0)
    clamp(top, fixed)
    return fixed


def clamp(top: Path, latest: int) -> None:
    """No time below `top` lies after `latest` (seconds since the epoch), nor has a fraction."""
    for path, entry in _entries(top):
        whole = int(min(entry.st_mtime, latest))
        if entry.st_mtime_ns != whole * 1_000_000_000:
            os.utime(path, (whole, whole), follow_symlinks=False)


def _entries(top: Path) -> Iterator[tuple[str, os.stat_result]]:
    yield str(top), top.lstat()
    for directory, names, files in os.walk(top):
        for name in (*names, *files):
            path = f"{directory}/{name}"
            yield path, os.lstat(path)
