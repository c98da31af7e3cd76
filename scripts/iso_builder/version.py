"""The product's version and the time that all reproducible output carries."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from blockhost.command import probe
from blockhost.errors import BlockhostError

REPOSITORY = Path(__file__).parents[2]
FIRST = "0.1.0"
HEADING = re.compile(r"^## \[?v?(\d+\.\d+\.\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Version:
    """`name` as in file names; `epoch` in seconds."""

    name: str
    epoch: int


def current(repository: Path = REPOSITORY) -> Version:
    """The version of this checkout: its tag, or the changelog's newest version and the commit.

    `SOURCE_DATE_EPOCH` overrules the commit's time.

    Raises:
        BlockhostError: this is no git checkout and `SOURCE_DATE_EPOCH` is not set.
    """
    commit_time = _git(repository, "log", "-1", "--format=%ct")
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or commit_time
    if not epoch:
        raise BlockhostError("this is no git checkout", hint="Set SOURCE_DATE_EPOCH to the release's time")
    if tag := _git(repository, "describe", "--tags", "--exact-match", "--match", "v*"):
        return Version(tag.removeprefix("v"), int(epoch))
    commit = _git(repository, "describe", "--always", "--dirty=.dirty", "--exclude", "*")
    released = _newest_release(repository)
    return Version(f"{released}+{commit}" if commit else released, int(epoch))


def _newest_release(repository: Path) -> str:
    changelog = repository / "CHANGELOG.md"
    match = HEADING.search(changelog.read_text()) if changelog.exists() else None
    return match[1] if match else FIRST


def _git(repository: Path, *arguments: str) -> str:
    # A checkout that belongs to someone else is still the one we were started from.
    done = probe(["git", "-c", f"safe.directory={repository}", "-C", repository, *arguments])
    return done.stdout.strip() if done.code == 0 else ""
