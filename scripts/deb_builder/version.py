"""One version for everything that gets built: CHANGELOG.md says which, git says which state.

A package's version is `0.1.0` at the tag `v0.1.0`. Before it, `0.1.0~dev<time of the last commit that
touched its inputs>`, so a commit elsewhere leaves the package as it is; files not committed add
`+dirty.<hash>`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from blockhost.command import probe
from deb_builder.errors import BuildError

_HEADING = re.compile(r"^##\s+\[?v?(\d+\.\d+\.\d+)\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class State:
    """The last commit that touched some paths, and whether they differ from it."""

    epoch: int
    is_tagged: bool
    is_dirty: bool


def release(root: Path) -> str:
    """The version that CHANGELOG.md names first, as `1.2.3`."""
    file = root / "CHANGELOG.md"
    match = _HEADING.search(file.read_text(encoding="utf-8")) if file.is_file() else None
    if match is None:
        raise BuildError(f"{file}: no heading like '## 0.1.0'", hint="Name the version being worked on there")
    return match[1]


def state(root: Path, paths: Sequence[str]) -> State:
    """Where `paths` (relative to the root) stand in git."""
    # A checkout that belongs to someone else is still the one we were started from.
    git: list[str | Path] = ["git", "-c", f"safe.directory={root.resolve()}", "-C", root]
    committed = probe([*git, "log", "-1", "--format=%ct", "--", *paths])
    changed = probe([*git, "status", "--porcelain", "--untracked-files=all", "--", *paths])
    if committed.code != 0 or changed.code != 0:
        raise BuildError(
            f"{root}: git says: {(committed.stderr or changed.stderr).strip()}",
            hint="Packages are built from a clone, since their versions come from its commits",
        )
    tag = probe([*git, "describe", "--tags", "--exact-match", "--match", f"v{release(root)}"])
    # Never committed at all: a fixed time, so that two builds are still equal.
    epoch = int(committed.stdout.strip() or 946684800)
    return State(epoch, tag.code == 0, bool(changed.stdout.strip()))


def package_version(root: Path, found: State, digest: str) -> str:
    """The Debian version of a package whose inputs hash to `digest`."""
    version = release(root)
    if not found.is_tagged:
        version += f"~dev{datetime.fromtimestamp(found.epoch, UTC):%Y%m%d%H%M%S}"
    return version + (f"+dirty.{digest[:8]}" if found.is_dirty else "")
