"""The initrd's archive format, against our own reader and against the real cpio program."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iso_builder import cpio
from iso_builder.cpio import Entry

EPOCH = 1_700_000_000
NAMES = st.text(alphabet="abcd", min_size=1, max_size=4)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


def sample() -> cpio.Tree:
    return {
        "etc/fstab": cpio.regular(b"# nothing\n"),
        "init": cpio.regular(b"#!/bin/sh\n", executable=True),
        "bin": cpio.link("usr/bin"),
        "dev/console": Entry(stat.S_IFCHR | 0o600, device=(5, 1)),
        "empty": cpio.regular(b""),
    }


def test_what_is_written_reads_back_with_parents_added() -> None:
    assert cpio.read(cpio.write(sample(), epoch=EPOCH)) == {
        **sample(),
        "etc": Entry(stat.S_IFDIR | 0o755),
        "dev": Entry(stat.S_IFDIR | 0o755),
    }


@given(st.dictionaries(PATHS, st.binary(max_size=40)))
def test_any_files_survive_the_round_trip(contents: dict[str, bytes]) -> None:
    # A name cannot be a file and another one's directory.
    paths = [path for path in contents if not any(other.startswith(path + "/") for other in contents)]
    tree = {path: cpio.regular(contents[path]) for path in paths}
    back = cpio.read(cpio.write(tree, epoch=EPOCH))
    assert {path: entry for path, entry in back.items() if stat.S_ISREG(entry.mode)} == tree


def test_the_order_of_insertion_does_not_show() -> None:
    tree = sample()
    backwards = dict(reversed(list(tree.items())))
    assert cpio.write(tree, epoch=EPOCH) == cpio.write(backwards, epoch=EPOCH)


def test_the_cpio_program_unpacks_it(tmp_path: Path) -> None:
    files = {path: entry for path, entry in sample().items() if not stat.S_ISCHR(entry.mode)}
    archive = cpio.write(files, epoch=EPOCH)
    subprocess.run(["cpio", "-idm", "--quiet"], input=archive, cwd=tmp_path, check=True)
    assert (tmp_path / "etc/fstab").read_bytes() == b"# nothing\n"
    assert (tmp_path / "bin").readlink() == Path("usr/bin")
    assert stat.S_IMODE((tmp_path / "init").stat().st_mode) == 0o755
    assert (tmp_path / "init").stat().st_mtime == EPOCH


def test_it_reads_hard_links_of_the_cpio_program(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"content")
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    made = subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet"],
        input=b"one\ntwo\n",
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    tree = cpio.read(made.stdout)
    assert {path: entry.data for path, entry in tree.items()} == {"one": b"content", "two": b"content"}


@pytest.mark.parametrize("garbage", [b"", b"070707" + b"0" * 200, b"\x1f\x8b" + b"\0" * 200])
def test_what_is_no_archive_is_refused(garbage: bytes) -> None:
    with pytest.raises(ValueError, match="no cpio header"):
        cpio.read(garbage)
