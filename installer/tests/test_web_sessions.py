"""Session files: private, bounded, and independent of the wall clock."""

from __future__ import annotations

import os
import stat

import pytest

from blockhost import boot_clock
from installer.web import sessions
from installer.web.sessions import KeptSecret, ServerSession, SessionStore


@pytest.fixture
def store(tmp_path):
    return SessionStore(tmp_path / "sessions")


def test_files_are_private_and_do_not_name_the_id(store, tmp_path) -> None:
    session_id = store.create({"a": 1})
    (file,) = (tmp_path / "sessions").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert session_id not in file.name
    assert store.load(session_id) == {"a": 1}


def test_ids_differ_and_are_long(store) -> None:
    ids = {store.create({}) for _ in range(50)}
    assert len(ids) == 50
    assert all(len(each) == 32 for each in ids)


def test_idle_sessions_end(store, monkeypatch) -> None:
    session_id = store.create({"a": 1})
    now = boot_clock.seconds()
    monkeypatch.setattr(boot_clock, "seconds", lambda: now + sessions.IDLE_S + 60)
    assert store.load(session_id) is None
    monkeypatch.setattr(boot_clock, "seconds", lambda: now)
    assert store.load(session_id) is None, "it does not come back"


def test_use_keeps_a_session(store, monkeypatch) -> None:
    session_id = store.create({"a": 1})
    now = boot_clock.seconds()
    for hours in (3, 6, 9):
        monkeypatch.setattr(boot_clock, "seconds", lambda hours=hours: now + hours * 3600)
        assert store.load(session_id) == {"a": 1}


def test_wall_clock_jumps_end_nothing(store, monkeypatch) -> None:
    session_id = store.create({"a": 1})
    monkeypatch.setattr("time.time", lambda: 4e9)
    assert store.load(session_id) == {"a": 1}


def test_merge_keeps_what_others_changed(store) -> None:
    session_id = store.create({"a": 1, "b": 1})
    store.merge(session_id, {"a": 2}, [])
    store.merge(session_id, {"b": 2}, ["c"])
    assert store.load(session_id) == {"a": 2, "b": 2}


def test_ended_session_is_not_revived_by_a_late_request(store) -> None:
    session_id = store.create({"a": 1})
    store.delete(session_id)
    store.merge(session_id, {"a": 2}, [])
    assert store.load(session_id) is None


def test_damaged_file_is_no_session(store, tmp_path) -> None:
    session_id = store.create({"a": 1})
    (file,) = (tmp_path / "sessions").iterdir()
    file.write_text("{")
    assert store.load(session_id) is None


def test_number_of_sessions_is_bounded(store, tmp_path) -> None:
    first = store.create({})
    for file in (tmp_path / "sessions").iterdir():
        os.utime(file, (boot_clock.seconds() - 100, boot_clock.seconds() - 100))
    for _ in range(sessions.MOST_SESSIONS):
        store.create({})
    assert len(list((tmp_path / "sessions").iterdir())) == sessions.MOST_SESSIONS
    assert store.load(first) is None


def test_nested_changes_are_seen() -> None:
    session = ServerSession({"a": {"b": [1]}, "c": 1}, "0" * 32)
    assert not session.modified
    session["a"]["b"].append(2)
    del session["c"]
    assert session.changed() == {"a": {"b": [1, 2]}}
    assert session.removed() == {"c"}


def test_placeholder_shows_nothing() -> None:
    session = ServerSession({"x": {"key": {"$secret": "key"}}}, None)
    assert isinstance(session["x"]["key"], KeptSecret)
    assert str(session["x"]["key"]) == ""
    assert session["x"]["key"].__html__() == ""
    assert session["x"]["key"], "a template that asks whether there is one sees one"
