"""The one gate for programs."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from blockhost import command
from blockhost.errors import CommandFailed
from blockhost.secret import Secret


def test_stdout_is_the_result() -> None:
    assert command.run(["printf", "a b"]) == "a b"


def test_failure_names_the_program_and_its_last_words_not_its_arguments() -> None:
    with pytest.raises(CommandFailed) as caught:
        command.run(["sh", "-c", "echo why >&2; exit 3 # tops3cret"])
    assert str(caught.value) == "sh: exit code 3: why"
    assert caught.value.exit_code == 3


def test_exit_code_can_be_the_answer() -> None:
    done = command.probe(["sh", "-c", "echo out; exit 7"])
    assert (done.code, done.stdout) == (7, "out\n")


def test_missing_program_is_named() -> None:
    with pytest.raises(CommandFailed, match="no-such-program: not found"):
        command.run(["no-such-program"])


def test_secret_goes_by_stdin() -> None:
    assert command.run(["cat"], stdin=Secret("s3cret")) == "s3cret"


def test_deadline_ends_the_whole_group(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"sleep 600 & echo $! > {pid_file}; wait"
    with pytest.raises(CommandFailed, match=r"no answer within 0\.5 s"):
        command.run(["sh", "-c", script], timeout=0.5)
    pid = int(pid_file.read_text())
    stat = Path(f"/proc/{pid}/stat")
    assert not stat.exists() or stat.read_text().split()[2] == "Z"


def test_lines_arrive_one_by_one() -> None:
    lines: list[str] = []
    command.stream(["sh", "-c", "echo one; echo two >&2; printf three"], lines.append, timeout=10)
    assert lines == ["one", "two", "three"]


def test_stream_failure_keeps_the_tail() -> None:
    with pytest.raises(CommandFailed, match="exit code 1: last words"):
        command.stream(["sh", "-c", "echo last words; exit 1"], lambda line: None, timeout=10)


def test_stream_deadline_counts_while_output_flows() -> None:
    with pytest.raises(CommandFailed, match="no answer within"):
        command.stream(["yes"], lambda line: None, timeout=0.3)


def test_fake_programs_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "systemctl"
    fake.write_text("#!/bin/sh\necho fake\n")
    fake.chmod(0o755)
    monkeypatch.setenv("BLOCKHOST_PATH", f"{tmp_path}:{command.APPLIANCE_PATH}")
    assert command.run(["systemctl"]) == "fake\n"


def test_programs_are_not_taken_from_the_callers_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "true"
    fake.write_text("#!/bin/sh\nexit 9\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command.probe(["true"]).code == 0


def test_children_die_with_us(tmp_path: Path) -> None:
    """A killed parent leaves no program behind."""
    code = (
        "import os, signal, sys\nfrom blockhost import command\n"
        "p = command.start(['sleep', '600'])\nprint(p.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    env = {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = command.start([sys.executable, "-c", code], env=env, stdout=-1)
    with process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.wait()
    gone = threading.Event()
    for _ in range(200):
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().split()[2] == "Z":
            gone.set()
            break
        gone.wait(0.01)
    assert gone.is_set()
