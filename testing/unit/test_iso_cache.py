"""Cached build stages: the same inputs give the same key, and only whole results count."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from iso_builder.cache import Cache
from iso_builder.keys import digest_tree, key_of
from iso_builder.progress import Progress


@pytest.fixture
def progress() -> Progress:
    return Progress(io.StringIO())


def test_a_result_is_built_once(tmp_path: Path, progress: Progress) -> None:
    cache = Cache(tmp_path)
    built = []

    def build(result: Path, _: Progress) -> None:
        built.append(result)
        (result / "file").write_text("x")

    first = cache.get("stage", "key1", build, progress)
    assert cache.get("stage", "key1", build, progress) == first
    assert (first / "file").read_text() == "x"
    assert len(built) == 1


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failed_build_leaves_nothing(
    tmp_path: Path, progress: Progress, failure: type[BaseException]
) -> None:
    def build(result: Path, _: Progress) -> None:
        (result / "half").write_text("x")
        raise failure

    with pytest.raises(failure):
        Cache(tmp_path).get("stage", "key", build, progress)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


KILLED_BUILD = """
import io, os, sys
from pathlib import Path
from iso_builder.cache import Cache
from iso_builder.progress import Progress

def build(result, _):
    (result / "half").write_text("x")
    os._exit(9)

Cache(Path(sys.argv[1])).get("stage", "key", build, Progress(io.StringIO()))
"""


def test_what_a_killed_build_left_is_not_taken_for_a_result(tmp_path: Path, progress: Progress) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED_BUILD, tmp_path], env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert done.returncode == 9
    assert list(tmp_path.rglob("half"))
    result = Cache(tmp_path).get("stage", "key", lambda *_: None, progress)
    assert list(result.iterdir()) == []
    assert not list(tmp_path.rglob("half"))


def test_two_builders_do_not_build_the_same_twice(tmp_path: Path, progress: Progress) -> None:
    entered = threading.Event()
    release = threading.Event()
    built = []

    def build(_: Path, __: Progress) -> None:
        built.append(1)
        entered.set()
        release.wait(10)

    def get() -> None:
        Cache(tmp_path).get("stage", "key", build, Progress(io.StringIO()))

    threads = [threading.Thread(target=get) for _ in range(2)]
    threads[0].start()
    assert entered.wait(10)
    threads[1].start()
    release.set()
    for thread in threads:
        thread.join()
    assert built == [1]


def results(top: Path) -> list[str]:
    return sorted(path.name for path in top.iterdir() if path.is_dir())


def test_old_results_go_and_the_one_before_stays(tmp_path: Path, progress: Progress) -> None:
    cache = Cache(tmp_path)
    for number, key in enumerate(("one", "two", "three")):
        path = cache.get("stage", key, lambda *_: None, progress)
        os.utime(path, (number, number))
    cache.get("other", "one", lambda *_: None, progress)
    assert results(tmp_path) == ["other-one", "stage-three", "stage-two"]


def test_a_result_that_someone_may_still_use_stays(tmp_path: Path, progress: Progress) -> None:
    cache = Cache(tmp_path)
    for key in ("one", "two", "three", "four"):
        cache.get("stage", key, lambda *_: None, progress)
    assert len(results(tmp_path)) == 4


def test_keys_follow_content_mode_and_links_but_not_times(tmp_path: Path) -> None:
    file = tmp_path / "tree/file"
    file.parent.mkdir()
    file.write_text("one")
    (tmp_path / "tree/link").symlink_to("file")
    seen = {digest_tree(tmp_path / "tree")}

    os.utime(file, (1, 1))
    assert digest_tree(tmp_path / "tree") in seen

    file.write_text("two")
    seen.add(digest_tree(tmp_path / "tree"))
    file.chmod(0o755)
    seen.add(digest_tree(tmp_path / "tree"))
    (tmp_path / "tree/link").unlink()
    (tmp_path / "tree/link").symlink_to("elsewhere")
    seen.add(digest_tree(tmp_path / "tree"))
    file.rename(tmp_path / "tree/other")
    seen.add(digest_tree(tmp_path / "tree"))
    assert len(seen) == 5


def test_byte_code_does_not_change_a_key(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("")
    before = digest_tree(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__/module.pyc").write_bytes(b"x")
    assert digest_tree(tmp_path) == before


def test_the_order_of_inputs_counts_and_that_of_names_does_not() -> None:
    assert key_of("a", "b") != key_of("b", "a")
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
