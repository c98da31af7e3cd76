"""Every boundary at which the worker or its step can die, and every write of theirs that can fail.

A target is one thread between two gates: the handler that accepts `start`, the runner around one
step, or one step itself. A point is a target, a call, the number of that call, and what happens
there: the process is killed before it, or the call fails with an errno; or the disk is full from the
target's beginning on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testing.crash.tracing import CHANGING, Call

START = "start"
RUNNER = "run@"
STEP = "step:"
KILL = "SIGKILL"
#: Not one call that fails, but the disk: all of them, and those of every program, until it is repaired.
FULL = "full"
DISK = "disk"

_WRITING = ("ENOSPC", "EIO")
_NAMING = ("ENOSPC", "EROFS", "EIO")
_REMOVING = ("EROFS", "EIO")
_MARKING = ("EROFS", "EIO", "EACCES")
#: What a full, dying or read-only disk, a wrong mode or a full table of descriptors gives to each call.
ERRNOS: Mapping[str, tuple[str, ...]] = {
    "openat": ("EMFILE", "EACCES", "EROFS", "ENOSPC", "EIO"),
    **dict.fromkeys(("write", "writev", "pwrite64", "pwritev", "sendfile", "copy_file_range"), _WRITING),
    **dict.fromkeys(("fsync", "fdatasync", "sync_file_range"), ("EIO", "ENOSPC")),
    **dict.fromkeys(("ftruncate", "truncate", "fallocate"), ("ENOSPC", "EIO")),
    **dict.fromkeys(("rename", "renameat", "renameat2"), _NAMING),
    **dict.fromkeys(("link", "linkat", "symlink", "symlinkat"), _NAMING),
    **dict.fromkeys(("mkdir", "mkdirat"), (*_NAMING, "EACCES")),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), _REMOVING),
    **dict.fromkeys(("chmod", "fchmod", "fchmodat", "utimensat"), _MARKING),
    **dict.fromkeys(("chown", "fchown", "fchownat", "lchown"), _MARKING),
}
#: The harness's own; and what is news, whose loss harms no run.
_NOT_OURS = ("worker.log",)
_NEWS = ("var/lib/blockhost-setup/logs/", "var/log/")
_TEMPORARY = re.compile(r"\.[0-9a-f]{12}\b")


@dataclass(frozen=True, order=True)
class Point:
    """The `number`-th `call` of `target` meets `fault`: SIGKILL, or an errno. `place` is for people."""

    target: str
    call: str
    number: int
    fault: str = KILL
    place: str = field(default="", compare=False)

    def __str__(self) -> str:
        return " ".join(filter(None, (self.target, f"{self.call}#{self.number}", self._what(), self.place)))

    def _what(self) -> str:
        return "" if self.is_death else self.fault

    @property
    def is_death(self) -> bool:
        return self.fault == KILL

    @property
    def is_lasting(self) -> bool:
        return self.fault == FULL

    @property
    def inject(self) -> str:
        """As strace(1) has it."""
        how = "signal" if self.is_death else "error"
        return f"{self.call}:{how}={self.fault}:when={self.number}"

    @property
    def must_be_told(self) -> bool:
        """After a failed fsync nobody knows what the disk holds: to go on is to lose it.

        SQLite's `fdatasync` is another matter: it may go on where its log is safe already.
        """
        return self.call == "fsync" and not self.place.startswith(_NEWS)

    @property
    def step(self) -> str:
        """The step it happens in or around; empty for the start of the run."""
        return (
            self.target.partition(":")[2] if self.target.startswith(STEP) else self.target.partition("@")[2]
        )

    @property
    def snapshot(self) -> str:
        return f"{STEP}{self.step}" if self.step else "base"

    @property
    def gate(self) -> str:
        if self.target.startswith(RUNNER):
            return "run"
        return self.target


@dataclass
class Reference:
    """One undisturbed run: its steps, its end, and what each target called."""

    root: Path
    answers: dict[str, Any]
    steps: list[str]
    final: dict[str, str] = field(default_factory=dict)
    effects: set[str] = field(default_factory=set)
    pictures: dict[str, dict[str, str]] = field(default_factory=dict)
    calls: dict[str, list[Call]] = field(default_factory=dict)

    def deaths(self) -> list[Point]:
        """Before every call that changes what a restart will find."""
        return sorted(
            Point(target, call.name, call.number)
            for target, calls in self.calls.items()
            for call in calls
            if call.name in CHANGING
        )

    def errors(self) -> list[Point]:
        """Every errno of every call that changes a file of the appliance."""
        return sorted(
            Point(target, call.name, call.number, errno, place)
            for target, calls in self.calls.items()
            for call in calls
            if (place := self._place(call))
            for errno in _errnos(call)
        )

    def full_disks(self) -> list[Point]:
        """The disk is full when each target begins."""
        return sorted(Point(target, DISK, 1, FULL) for target in self.calls)

    def _place(self, call: Call) -> str:
        """The file below the root; empty for what is none of the appliance's files."""
        if not call.place.startswith(f"{self.root}/"):
            return ""
        name = _TEMPORARY.sub(".*", call.place.removeprefix(f"{self.root}/"))
        return "" if name.startswith(_NOT_OURS) else name


def _errnos(call: Call) -> tuple[str, ...]:
    if call.name != "openat":
        return ERRNOS.get(call.name, ())
    if not re.search(r"\bO_(WRONLY|RDWR|CREAT)\b", call.line):
        return ()
    return tuple(errno for errno in ERRNOS["openat"] if errno != "ENOSPC" or "O_CREAT" in call.line)


@dataclass(frozen=True)
class Outcome:
    """What became of one point. No complaints means that everything held.

    `struck`: the call was made, and met its fault. `retried`: the operator had to.
    """

    point: Point
    struck: bool
    retried: bool
    complaints: tuple[str, ...]
    plant: str = ""
