"""Files that a caller names: opened below a folder of ours, one component at a time, following no link.

What was opened is what is used (by its descriptor), so renaming or linking meanwhile changes nothing.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from blockhost.errors import RootAgentError
from blockhost.i18n import gettext as _

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def opened(folder: Path, name: str, flags: int = os.O_RDONLY) -> Iterator[int]:
    """The descriptor of the regular file `name` below `folder`.

    Raises:
        RootAgentError: there is none, the way to it leads over a link, or others than root (or this
            process's own user) can change it.
    """
    descriptor = _open_below(folder, PurePosixPath(name), flags)
    try:
        _require_ours(descriptor, name)
        yield descriptor
    finally:
        os.close(descriptor)


def path_of(descriptor: int) -> str:
    """A path by which a child opens the very same file, whatever has its name by then."""
    return f"/proc/{os.getpid()}/fd/{descriptor}"


def _open_below(folder: Path, name: PurePosixPath, flags: int) -> int:
    *parents, last = name.parts
    if name.is_absolute() or ".." in name.parts:
        raise RootAgentError(_("expected a name inside its folder"))
    place = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for parent in parents:
            below = os.open(parent, _FOLDER, dir_fd=place)
            os.close(place)
            place = below
        # NONBLOCK: a pipe in its place must not hold us up.
        return os.open(last, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)
    except OSError as error:
        raise RootAgentError(_("cannot open the file: %(reason)s") % {"reason": error.strerror}) from None
    finally:
        os.close(place)


def _require_ours(descriptor: int, name: str) -> None:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        raise RootAgentError(
            _("%(name)s: not a regular file with one name") % {"name": PurePosixPath(name).name}
        )
    if found.st_uid not in {0, os.geteuid()} or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RootAgentError(
            _("%(name)s: others than root can change it") % {"name": PurePosixPath(name).name}
        )
