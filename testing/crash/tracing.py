"""strace at one thread of a stopped process: to count its state-changing calls, or to kill it
before the n-th of one of them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
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
_CALL = re.compile(r"^(?:\d+ +)?(?:[\d.:]+ )?(\w+)\(")
DEADLINE_S = 60.0


class Tracer:
    """strace attached to one thread until that thread ends."""

    def __init__(self, tid: int, log: Path, *options: str) -> None:
        self.log = log
        log.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            ["strace", "-qq", "-o", str(log), "-p", str(tid), "-e", f"trace={','.join(CHANGING)}", *options],
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

    def counts(self) -> Counter[str]:
        """How often each call was made."""
        return Counter(
            match[1]
            for line in self.log.read_text(errors="replace").splitlines()
            if (match := _CALL.match(line))
        )

    def killed(self) -> bool:
        return "+++ killed by SIGKILL +++" in self.log.read_text(errors="replace")


def kill_before(tid: int, log: Path, call: str, number: int) -> Tracer:
    """Have the thread's process killed when it enters its `number`-th `call`, before that acts."""
    return Tracer(tid, log, "-e", f"inject={call}:signal=SIGKILL:when={number}")


def go_on(pid: int) -> None:
    os.kill(pid, signal.SIGCONT)


def is_stopped(tid: int) -> bool:
    try:
        return Path(f"/proc/{tid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], what: str, *, timeout: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(0.002)
