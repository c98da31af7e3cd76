"""Compressed images of a directory tree."""

from __future__ import annotations

from pathlib import Path

from blockhost.command import run

TIMEOUT_S = 1800


def make(tree: Path, image: Path, *, epoch: int, level: int = 9, xattrs: bool) -> None:
    """Pack `tree` into `image`; the same tree gives the same bytes."""
    argv = [
        "mksquashfs", tree, image, "-noappend", "-quiet", "-no-progress", "-no-exports",
        "-comp", "zstd", "-Xcompression-level", str(level), *(() if xattrs else ("-no-xattrs",)),
    ]  # fmt: skip
    run(argv, timeout=TIMEOUT_S, env={"SOURCE_DATE_EPOCH": str(epoch), "TZ": "UTC"})
