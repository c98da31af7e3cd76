"""Events are numbered over restarts, replayed by number, and never block the run."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from installer.finalize import events
from installer.finalize.events import EventLog


def test_numbers_rise_over_restarts(tmp_path: Path) -> None:
    first = EventLog(tmp_path)
    assert [first.add("log", {"line": str(i)})["id"] for i in range(3)] == [1, 2, 3]
    first.close()
    second = EventLog(tmp_path)
    assert second.add("log", {"line": "x"})["id"] == 4
    assert [event["id"] for event in second.after(2)] == [3, 4]
    second.close()


def test_a_line_cut_by_a_kill_is_skipped(tmp_path: Path) -> None:
    (tmp_path / events.FILE).write_text('{"id": 7, "type": "log"}\n{"id": 8, "ty')
    log = EventLog(tmp_path)
    assert [event["id"] for event in log.after(0)] == [7]
    log.close()


def test_a_follower_gets_the_past_then_the_news(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.add("log", {"line": "old"})
    stream = log.follow(0, idle_s=5)
    assert next(stream)["line"] == "old"  # type: ignore[index]
    timer = threading.Timer(0.05, lambda: log.add("log", {"line": "new"}))
    timer.start()
    assert next(stream)["line"] == "new"  # type: ignore[index]
    timer.join()
    log.close()
    assert list(stream) == []


def test_silence_is_told(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    assert next(log.follow(0, idle_s=0.01)) is None
    log.close()


@pytest.mark.parametrize("number", [99, 2**70])
def test_a_number_from_another_life_replays_everything(tmp_path: Path, number: int) -> None:
    log = EventLog(tmp_path)
    log.add("log", {"line": "old"})
    assert next(log.follow(number, idle_s=1))["line"] == "old"  # type: ignore[index]
    log.close()


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEPT", 5)
    log = EventLog(tmp_path)
    for index in range(20):
        log.add("log", {"line": str(index)})
    assert [event["id"] for event in log.after(0)] == [16, 17, 18, 19, 20]
    log.close()


def test_the_file_is_private(tmp_path: Path) -> None:
    EventLog(tmp_path / "logs").close()
    assert (tmp_path / "logs" / events.FILE).stat().st_mode & 0o777 == 0o600
