"""The one gate for programs: fixed PATH, deadlines, no shell, no arguments in logs.

Children die with us (PR_SET_PDEATHSIG, prctl(2)) and run in a process group of their own,
so that a deadline ends everything they started.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from blockhost.errors import CommandFailed
from blockhost.i18n import gettext as _
from blockhost.secret import Secret

log = logging.getLogger(__name__)

APPLIANCE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_TIMEOUT_S = 60.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)

Argument = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended: its exit code (negative: killed by that signal) and what it printed."""

    code: int
    stdout: str
    stderr: str


def search_path() -> str:
    """The PATH that programs are found on and get; `BLOCKHOST_PATH` puts recorded fakes first."""
    return os.environ.get("BLOCKHOST_PATH") or APPLIANCE_PATH


def find(program: str) -> str | None:
    """The program's absolute path, or None where it is not installed."""
    return shutil.which(program, path=search_path())


def run(
    argv: Sequence[Argument],
    *,
    timeout: float = DEFAULT_TIMEOUT_S,
    stdin: str | bytes | Secret | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Argument | None = None,
) -> str:
    """Run a program to its end and return its stdout.

    Raises:
        CommandFailed: it exited non-zero, was not found, or outlived `timeout` (seconds).
    """
    done = probe(argv, timeout=timeout, stdin=stdin, env=env, cwd=cwd)
    if done.code != 0:
        raise CommandFailed(os.fspath(argv[0]), done.code, done.stderr)
    return done.stdout


def probe(
    argv: Sequence[Argument],
    *,
    timeout: float = DEFAULT_TIMEOUT_S,
    stdin: str | bytes | Secret | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Argument | None = None,
) -> Completed:
    """Run a program whose exit code is an answer.

    Raises:
        CommandFailed: it could not be started, or outlived `timeout` (seconds).
    """
    process = start(
        argv,
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd=cwd,
    )
    with _ended(process):
        try:
            out, err = process.communicate(_as_bytes(stdin), timeout=timeout)
        except subprocess.TimeoutExpired:
            raise _too_slow(argv[0], timeout) from None
    log.debug("%s ended with %s", argv[0], process.returncode)
    return Completed(process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))


def stream(
    argv: Sequence[Argument],
    on_line: Callable[[str], None],
    *,
    timeout: float,
    stdin: str | bytes | Secret | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Argument | None = None,
) -> None:
    """Run long work, handing each line of its output (stdout and stderr together) to `on_line`.

    Raises:
        CommandFailed: as `run`; its stderr holds the last lines.
    """
    process = start(
        argv,
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        cwd=cwd,
    )
    tail: list[str] = []
    deadline = time.monotonic() + timeout

    def keep(line: str) -> None:
        tail.append(line)
        del tail[:-20]
        on_line(line)

    with _ended(process):
        if stdin is not None:
            assert process.stdin is not None
            process.stdin.write(_as_bytes(stdin) or b"")
            process.stdin.close()
        assert process.stdout is not None
        if not _read_lines(process.stdout, keep, deadline):
            raise _too_slow(argv[0], timeout)
        try:
            code = process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise _too_slow(argv[0], timeout) from None
    if code != 0:
        raise CommandFailed(os.fspath(argv[0]), code, "\n".join(tail))


def start(
    argv: Sequence[Argument],
    *,
    stdin: int | IO[Any] | None = subprocess.DEVNULL,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Argument | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program and return it running. The caller waits for it; `run` is for everyone else."""
    program = find(os.fspath(argv[0]))
    if program is None:
        raise CommandFailed(
            os.fspath(argv[0]), None, reason=_("not found"), hint=_("Is its package installed?")
        )
    parent = os.getpid()

    def die_with_parent() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the call above
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        return subprocess.Popen(
            [os.fspath(argument) for argument in argv],
            executable=program,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=environment(env),
            cwd=cwd,
            pass_fds=pass_fds,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509  only async-signal-safe work in it
        )
    except OSError as error:
        raise CommandFailed(os.fspath(argv[0]), None, reason=error.strerror or str(error)) from error


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment with a fixed PATH and messages in one language, so they can be read."""
    return {**os.environ, "PATH": search_path(), "LC_ALL": "C.UTF-8", **(extra or {})}


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a started program with everything in its process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Any:
    """Leave no process and no open pipe behind, whatever happens."""
    try:
        yield
    except BaseException:
        kill_group(process)
        raise
    finally:
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.wait()


def _read_lines(pipe: IO[bytes], on_line: Callable[[str], None], deadline: float) -> bool:
    """Read until end of file; False when the deadline came first."""
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                return False
            chunk = os.read(pipe.fileno(), 65536)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                on_line(line.decode("utf-8", "replace").rstrip("\r"))
            if not chunk:
                if rest:
                    on_line(rest.decode("utf-8", "replace"))
                return True


def _too_slow(program: Argument, timeout: float) -> CommandFailed:
    return CommandFailed(
        os.fspath(program), None, reason=_("no answer within %(timeout)g s") % {"timeout": timeout}
    )


def _as_bytes(stdin: str | bytes | Secret | None) -> bytes | None:
    if isinstance(stdin, Secret):
        stdin = stdin.reveal()
    return stdin.encode() if isinstance(stdin, str) else stdin
