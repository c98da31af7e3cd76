"""What the system refused, in words that an operator can act on.

A full, dying or read-only disk, a wrong mode, a full table of descriptors: no faults of a program,
so they are told with the file's name and what to do, not as an internal error.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_

_FULL = N_("Free some space on its disk (see `df -h` and `df -i`), then try again.")
_READ_ONLY = N_(
    "Its file system is read-only, often since a disk fault: see `journalctl -k`; then try again."
)
_FAULTY = N_("The disk may be failing: see `journalctl -k`, then try again.")
_DENIED = N_("Look at owner and mode of the file and of the directories above it, then try again.")
_TOO_MANY = N_("Too many files are open at once; try again, or restart the machine if it stays so.")
_MEMORY = N_("The machine is short of memory; end what needs much of it, then try again.")

HINTS: Mapping[int, str] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EIO: _FAULTY,
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EMFILE: _TOO_MANY,
    errno.ENFILE: _TOO_MANY,
    errno.ENOMEM: _MEMORY,
}


def explained(error: OSError) -> BlockhostError | None:
    """The error as one that is safe to show, with a hint; None for what only a bug brings about."""
    hint = HINTS.get(error.errno or 0)
    if hint is None:
        return None
    reason = error.strerror or os.strerror(error.errno or 0)
    message = f"{os.fsdecode(error.filename)}: {reason}" if _is_name(error.filename) else reason
    return BlockhostError(message, hint=_(hint))


def _is_name(filename: object) -> bool:
    return isinstance(filename, str | bytes | os.PathLike)


@contextlib.contextmanager
def about(path: Path) -> Iterator[None]:
    """Name `path` in what the system refuses meanwhile: a descriptor or a temporary name says nothing."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise
