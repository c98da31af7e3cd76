"""What the system refuses: told with the file and a remedy, and nothing half-written stays."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from blockhost import files
from blockhost.errors import RecordNotKept
from blockhost.os_errors import HINTS, explained
from blockhost.pipeline import Record, RecordStore, Runner, Status, Step, StepContext
from blockhost.pipeline.child import InlineLauncher

CHANGING = ("open", "write", "fsync", "rename", "link", "fchmod")


class FailingOs:
    """`os` as `blockhost.files` sees it; its n-th changing call fails."""

    def __init__(self, number: int, code: int) -> None:
        self._left = number
        self._code = code

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in CHANGING:
            return real

        def call(*args: Any, **kw: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                raise OSError(self._code, os.strerror(self._code))
            return real(*args, **kw)

        return call


def sealed(path: Path) -> None:
    files.write_sealed(path, {"new": True}, mode=0o600)


def written(path: Path) -> None:
    files.write_json(path, {"new": True}, mode=0o600)


def failures(work: Callable[[Path], None], path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OSError]:
    """Each time with the next call failing, until the work gets through."""
    for number in range(1, 50):
        files.write_sealed(path, {"old": True}, mode=0o600)
        monkeypatch.setattr(files, "os", FailingOs(number, errno.ENOSPC))
        try:
            work(path)
            return
        except OSError as error:
            monkeypatch.undo()
            yield error
    raise AssertionError("it never gets through")


@pytest.mark.parametrize("work", [sealed, written])
def test_a_write_that_fails_anywhere_names_its_file_and_leaves_no_other(
    work: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, count = tmp_path / "state.json", 0
    for error in failures(work, path, monkeypatch):
        count += 1
        assert error.filename in {str(path), str(tmp_path)}
        assert {p.name for p in tmp_path.iterdir()} <= {"state.json", "state.json.previous"}
        assert "body" in files.read_json(path) or files.read_json(path) == {"new": True}
        assert "No space left on device" in str(explained(error))
    assert count >= 6


def test_a_sealed_write_after_one_that_failed_leaves_no_third_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The generation before has two names then, and rename(2) leaves those alone: a vault's secrets
    would have lived on in the spare one."""
    path = tmp_path / "vault.json"
    for _error in failures(sealed, path, monkeypatch):
        files.write_sealed(path, {"again": True}, mode=0o600)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["vault.json", "vault.json.previous"]


def test_a_second_name_that_cannot_be_removed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    path = tmp_path / "vms.db"
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", faulty)
        with pytest.raises(OSError, match=r"vms\.db"):
            files.create_once(path, mode=0o640)
    files.remove_leftovers(tmp_path)  # as every run of steps begins
    assert not files.create_once(path, mode=0o640)
    assert [p.name for p in tmp_path.iterdir()] == ["vms.db"]


@pytest.mark.parametrize("code", HINTS)
def test_every_refusal_has_reason_and_remedy(code: int) -> None:
    known = explained(OSError(code, os.strerror(code), "/etc/blockhost/db.yaml"))
    assert known is not None
    assert str(known) == f"/etc/blockhost/db.yaml: {os.strerror(code)}"
    assert known.hint


def test_a_bug_stays_one() -> None:
    assert explained(FileNotFoundError(errno.ENOENT, "No such file or directory", "x")) is None


# --- the pipeline -----------------------------------------------------------------------------


class FullStore(RecordStore):
    """Refuses the n-th record."""

    left = 0

    def save(self, record: Record) -> None:
        self.left -= 1
        if self.left == 0:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self.open_file(record.step_id)))
        super().save(record)


def plan(done: list[str]) -> list[Step]:
    def work(context: StepContext) -> None:
        if context.step_id == "mint":
            context.intent({"key": "k"})
        done.append(context.step_id)

    return [Step(name, name, apply=work) for name in ("mint", "after")]


@pytest.mark.parametrize(("refused", "named", "happened"), [(1, "mint", []), (3, "mint", ["mint"])])
def test_nothing_runs_on_without_its_record(
    tmp_path: Path, refused: int, named: str, happened: list[str]
) -> None:
    store, done = FullStore(tmp_path), list[str]()
    store.left = refused
    with pytest.raises(RecordNotKept, match="Read-only file system") as told:
        Runner(plan(done), store, InlineLauncher()).run()
    assert told.value.step_id == named
    assert told.value.hint
    assert done == happened
    assert Runner(plan(done), store, InlineLauncher()).run()  # repaired
    assert done == [*happened, "mint", "after"]


def test_an_effect_whose_intent_cannot_be_kept_does_not_happen(tmp_path: Path) -> None:
    store, done = FullStore(tmp_path), list[str]()
    store.left = 2
    assert not Runner(plan(done), store, InlineLauncher()).run()
    assert done == []
    record = store.load("mint")
    assert record.status is Status.FAILED
    assert "Read-only file system" in record.error
    assert record.hint


def test_a_step_on_a_full_disk_says_so(tmp_path: Path) -> None:
    def full(_: StepContext) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/etc/blockhost/db.yaml")

    store = RecordStore(tmp_path)
    assert not Runner([Step("a", "a", apply=full)], store, InlineLauncher()).run()
    record = store.load("a")
    assert record.error == "/etc/blockhost/db.yaml: No space left on device"
    assert "df" in record.hint
