"""Cached results of build stages, one directory per stage and key.

A result is built under a temporary name and renamed when it is whole, so that an interrupted
build leaves nothing that a later one could take for finished.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from iso_builder.progress import Progress

PART = ".part"
KEEP = 2  # results per stage: the current one and the one before
IN_USE_S = 2 * 3600.0  # nor is one removed that was asked for lately: a test may run on it


class Cache:
    """Results below one directory."""

    def __init__(self, top: Path) -> None:
        self.top = top
        top.mkdir(parents=True, exist_ok=True)

    def get(self, stage: str, key: str, build: Callable[[Path, Progress], None], progress: Progress) -> Path:
        """The directory with the result of `stage` for `key`; built now where it is missing."""
        result = self.top / f"{stage}-{key}"
        with self._lock(stage):
            if result.is_dir():
                os.utime(result)
                progress.cached(stage)
                return result
            part = result.with_name(result.name + PART)
            _remove(part)
            part.mkdir()
            try:
                with progress.stage(stage):
                    build(part, progress)
            except BaseException:
                _remove(part)
                raise
            part.rename(result)
            self._prune(stage, result)
        return result

    def _prune(self, stage: str, current: Path) -> None:
        others = [path for path in self.top.glob(f"{stage}-*") if path.is_dir() and path != current]
        last_used = {path: path.stat().st_mtime for path in others}
        for path in sorted(others, key=last_used.__getitem__, reverse=True)[KEEP - 1 :]:
            if time.time() - last_used[path] > IN_USE_S:
                _remove(path)

    @contextlib.contextmanager
    def _lock(self, stage: str) -> Iterator[None]:
        with (self.top / f"{stage}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _remove(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)
