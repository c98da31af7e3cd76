"""What the installer prints on every console: steps, and failures with a banner."""

from __future__ import annotations

import hashlib
import subprocess
import time
from pathlib import Path

import pytest

PRESEED = Path(__file__).parents[2] / "preseed"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine with a screen and a serial line; `logger` and `blockhost-say` record."""
    for name in ("proc", "dev", "bin", "var/log"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "proc/uptime").write_text("83.12 1.0\n")
    (tmp_path / "proc/consoles").write_text("tty0 -WU (EC p ) 4:1\nttyS0 -W- (E p a) 4:64\n")
    (tmp_path / "bin/logger").write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/logged\n')
    (tmp_path / "bin/blockhost-say").write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/said\n')
    (tmp_path / "bin/blockhost-check-medium").write_text(f'#!/bin/sh\necho "$*" > {tmp_path}/check\n')
    for program in (tmp_path / "bin").iterdir():
        program.chmod(0o755)
    return tmp_path


def start(root: Path, script: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {"PATH": f"{root}/bin:/usr/bin:/bin", "BLOCKHOST_ROOT": str(root)}
    return subprocess.Popen(
        ["busybox", "sh", PRESEED / script, *arguments], env=environment, start_new_session=True
    )


def test_a_line_reaches_screen_serial_line_and_log(root: Path) -> None:
    assert start(root, "say.sh", "step:", "unpack").wait(10) == 0
    for console in ("tty1", "ttyS0"):
        assert (root / "dev" / console).read_bytes() == b"\r\n[blockhost 83s] step: unpack\r\n"
    assert not (root / "dev/tty0").exists()
    assert "step: unpack" in (root / "logged").read_text()


def test_steps_and_failures_are_taken_from_the_log(root: Path) -> None:
    """The watcher runs in the background for good: it is ended with its process group."""
    (root / "var/log/syslog").write_text(
        "main-menu[1]: INFO: Menu item 'partman-base' selected\n"
        "main-menu[1]: INFO: Menu item 'blockhost-unpack' selected\n"
        "main-menu[1]: WARNING **: Configuring 'blockhost-unpack' failed with error code 1\n"
    )
    watcher = start(root, "watch.sh")
    try:
        assert watcher.wait(10) == 0  # d-i waits for it, so it must not stay in front
        said = root / "said"
        deadline = time.monotonic() + 20
        while not (said.exists() and said.read_text().count("====") > 20):
            assert time.monotonic() < deadline, said.read_text() if said.exists() else "nothing said"
            time.sleep(0.05)
    finally:
        subprocess.run(["pkill", "-KILL", "-s", str(watcher.pid)], check=False)
    lines = said.read_text().splitlines()
    assert lines[0] == "step: partman-base"
    assert "INSTALL FAILED in step blockhost-unpack" in lines
    assert not [line for line in lines if line.startswith("step: blockhost-")]
    assert (root / "check").read_text() == "start\n"


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    """An installation medium with one image, not mounted yet."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "live").mkdir()
    (tmp_path / "live/image").write_bytes(b"content")
    digest = hashlib.sha256(b"content").hexdigest()
    (tmp_path / "live/SHA256SUMS").write_text(f"{digest}  image\n")
    (tmp_path / "cdrom").mkdir()
    return tmp_path


def mount(medium: Path) -> None:
    (medium / "live").rename(medium / "cdrom/live")


@pytest.mark.parametrize("damaged", [False, True])
def test_the_check_begun_early_is_the_answer_later(medium: Path, *, damaged: bool) -> None:
    early = start(medium, "check-medium.sh", "start")
    if damaged:
        (medium / "live/image").write_bytes(b"contenT")
    mount(medium)
    assert early.wait(20) == 0
    assert start(medium, "check-medium.sh", "wait").wait(20) == int(damaged)


@pytest.mark.parametrize("missing", ["image", "SHA256SUMS"])
def test_a_check_that_nobody_began_is_made_when_asked_for(medium: Path, missing: str) -> None:
    mount(medium)
    (medium / "cdrom/live" / missing).unlink()
    assert start(medium, "check-medium.sh", "wait").wait(20) == 1
