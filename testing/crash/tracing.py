"""strace at one thread of a stopped process: to list its state-changing calls, or to have the n-th
of one of them end the process or fail."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

#: Calls that change what a restart will find: files, peers, processes. `openat` is not among them:
#: what it creates is there at the boundary before the call that follows it.
CHANGING = (
    "write", "writev", "pwrite64", "pwritev", "sendto", "sendmsg", "sendfile", "copy_file_range",
    "fsync", "fdatasync", "sync_file_range", "ftruncate", "truncate", "fallocate",
    "rename", "renameat", "renameat2", "unlink", "unlinkat", "link", "linkat", "symlink", "symlinkat",
    "mkdir", "mkdirat", "rmdir", "chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat", "lchown",
    "utimensat", "clone", "clone3", "fork", "vfork", "execve", "kill", "connect",
)  # fmt: skip
#: Where a file is made or taken up: such a call may fail, though dying before it is nothing new.
OPENING = ("openat",)
_CALL = re.compile(r"^(?:\d+ +)?(?:[\d.:]+ )?(\w+)\(")
_DESCRIPTOR = re.compile(r"(?:\b\d+|AT_FDCWD)<([^>]*)>")
_NAME = re.compile(r'"((?:[^"\\]|\\.)*)"')
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Call:
    """One call of the traced thread: the `number`-th of its name, and what strace wrote of it."""

    name: str
    number: int
    line: str

    @property
    def place(self) -> str:
        """The file that it is about, or what its descriptor is (`pipe:[…]`); empty where neither is."""
        arguments = self.line.rpartition(") = ")[0]
        descriptors = _DESCRIPTOR.findall(arguments)
        if self.name.endswith(("at", "at2")) or not descriptors:
            directory = descriptors[-1] if descriptors else ""
            names = _NAME.findall(arguments)
            return os.path.join(directory, names[-1]) if names else directory  # noqa: PTH118  absolute wins
        return str(descriptors[0])


class Tracer:
    """strace attached to one thread until that thread ends; `inject` as strace(1) has it."""

    def __init__(self, tid: int, log: Path, inject: str = "") -> None:
        self.log = log
        log.unlink(missing_ok=True)
        trace = ",".join((*CHANGING, *OPENING))
        injection = ["-e", f"inject={inject}"] if inject else []
        self._process = subprocess.Popen(
            ["strace", "-qq", "-y", "-o", str(log), "-p", str(tid), "-e", f"trace={trace}", *injection],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        # It reports the stop that it found once it is ready; before, calls would be missed.
        wait_until(lambda: log.exists() and "stopped by SIGSTOP" in log.read_text(), "strace is attached")

    def finish(self) -> None:
        """Wait until the traced thread is gone."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(DEADLINE_S)
        self.detach()

    def detach(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait()
        if self._process.stderr:
            self._process.stderr.close()

    def has_ended(self) -> bool:
        """The traced thread is gone."""
        return self._process.poll() is not None

    def calls(self) -> list[Call]:
        """What the thread did, in order."""
        count: Counter[str] = Counter()
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            if match := _CALL.match(line):
                count[match[1]] += 1
                found.append(Call(match[1], count[match[1]], line))
        return found

    def struck(self) -> bool:
        """What was to be injected came to pass."""
        text = self.log.read_text(errors="replace")
        return "+++ killed by SIGKILL +++" in text or "(INJECTED)" in text


def go_on(pid: int) -> None:
    os.kill(pid, signal.SIGCONT)


def is_stopped(tid: int) -> bool:
    try:
        return Path(f"/proc/{tid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    except OSError:
        return False


def wait_until(
    condition: Callable[[], bool], what: str, *, timeout: float = DEADLINE_S, every: float = 0.002
) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(every)
