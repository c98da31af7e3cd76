"""Files that a caller names: never another one, whoever renames and links meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from blockhost.errors import RootAgentError
from blockhost.root_agent.confined import opened, path_of

TRIES = 10_000
#: Swaps the file, and the folder on the way to it, between ours and links to the secret.
SWAPPER = """
import os, sys
os.chdir(sys.argv[1])
names = ("images/sub/disk.raw", "images/sub")
while True:
    for name in names:
        for instead in ("link", "good"):
            os.rename(name, "aside")
            os.rename(f"{name.rpartition('/')[2]}.{instead}", name)
            os.rename("aside", f"{name.rpartition('/')[2]}.{'good' if instead == 'link' else 'link'}")
"""


def read(folder: Path, name: str) -> bytes:
    with opened(folder, name) as descriptor:
        return os.read(descriptor, 100)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "images/sub").mkdir(parents=True)
    (tmp_path / "images/sub/disk.raw").write_text("ours")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/disk.raw").write_text("secret")
    for path in tmp_path.rglob("*.raw"):
        path.chmod(0o600)
    return tmp_path / "images"


def test_file_below_the_folder_is_opened(images: Path) -> None:
    assert read(images, "sub/disk.raw") == b"ours"
    with opened(images, "sub/disk.raw") as descriptor:
        (images / "sub/disk.raw").rename(images / "sub/other.raw")
        (images / "sub/disk.raw").write_text("another")
        assert Path(path_of(descriptor)).read_text() == "ours"


@pytest.mark.parametrize(
    "name", ["../elsewhere/disk.raw", "sub/../../elsewhere/disk.raw", "/etc/passwd", "sub", "none", "pipe"]
)
def test_what_is_no_file_of_ours_is_refused(images: Path, name: str) -> None:
    os.mkfifo(images / "pipe", 0o600)
    with pytest.raises(RootAgentError):
        read(images, name)


def test_links_are_refused_wherever_they_stand(images: Path) -> None:
    (images / "link.raw").symlink_to(images / "sub/disk.raw")
    (images / "way").symlink_to(images.parent / "elsewhere")
    (images.parent / "elsewhere/other.raw").touch(0o600)
    os.link(images.parent / "elsewhere/other.raw", images / "hard.raw")
    for name in ("link.raw", "way/disk.raw", "hard.raw"):
        with pytest.raises(RootAgentError):
            read(images, name)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_file_that_others_can_change_is_refused(images: Path, mode: int) -> None:
    (images / "sub/disk.raw").chmod(mode)
    with pytest.raises(RootAgentError, match="can change it"):
        read(images, "sub/disk.raw")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_file_of_another_user_is_refused(images: Path) -> None:
    os.chown(images / "sub/disk.raw", 65534, -1)
    with pytest.raises(RootAgentError, match="can change it"):
        read(images, "sub/disk.raw")


def test_no_race_of_renames_and_links_leads_elsewhere(images: Path) -> None:
    top = images.parent
    (top / "disk.raw.link").symlink_to(top / "elsewhere/disk.raw")
    (top / "sub.link").symlink_to(top / "elsewhere")
    before = len(list(Path("/proc/self/fd").iterdir()))
    swapper = subprocess.Popen([sys.executable, "-c", SWAPPER, str(top)], stderr=subprocess.DEVNULL)
    try:
        read_, refused, deadline = Counter[bytes](), 0, time.monotonic() + 60
        while read_.total() + refused < TRIES or not read_ or refused < 100:  # until the swaps are seen
            assert time.monotonic() < deadline
            assert swapper.poll() is None
            try:
                read_[read(images, "sub/disk.raw")] += 1
            except RootAgentError:
                refused += 1
    finally:
        swapper.kill()
        swapper.wait()
    assert set(read_) == {b"ours"}
    assert len(list(Path("/proc/self/fd").iterdir())) == before
