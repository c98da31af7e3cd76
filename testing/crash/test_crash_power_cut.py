"""No power cut loses what was acknowledged: header, records and vault, replayed into every tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from blockhost.errors import DamagedFile
from blockhost.pipeline.records import Status
from installer.finalize import run
from installer.vault import Vault
from testing.crash import replay

pytestmark = pytest.mark.crash

#: Writes state through the product's own functions and says when each call returned.
WRITER = """
import os
from blockhost.files import make_dir
from blockhost.paths import setup_dir, state_dir
from blockhost.pipeline.records import Record, Status
from installer.finalize import run
from installer.vault import Vault

def acknowledge(what):
    os.write(1, f"ACKNOWLEDGED {what}\\n".encode())

make_dir(setup_dir(), mode=0o700)
make_dir(state_dir(), mode=0o750)
for number in (1, 2):
    Vault().keep("key", f"secret-{number}")
    acknowledge(f"vault {number}")
info = run.StepInfo("one", "One")
for number in (1, 2):
    header = run.Header("r1", 1.0, {}, {"number": number}, (info,), "")
    run.save_header(header)
    acknowledge(f"header {number}")
store = header.store
for attempt in (1, 2):
    record = Record("one", status=Status.IN_PROGRESS, attempt=attempt)
    store.save(record)
    acknowledge(f"begun {attempt}")
    store.save(Record("one", status=Status.FAILED, attempt=attempt, error="no"))
store.save(Record("one", status=Status.IN_PROGRESS, attempt=3, intent={"key": "k"}))
acknowledge("intent")
store.save(Record("one", status=Status.COMPLETED, attempt=3, data={"result": 1}))
acknowledge("completed")
Vault().wipe()
acknowledge("wiped")
run.remove_header()
acknowledge("forgotten")
"""
FEWEST_TREES = 100


def _look(root: Path, acknowledged: set[str]) -> None:
    """Read everything back as a starting worker would."""
    _look_at_vault(acknowledged)
    header = _look_at_header(acknowledged)
    if header is not None and "forgotten" not in acknowledged:
        _look_at_record(header, acknowledged)


def _look_at_vault(acknowledged: set[str]) -> None:
    try:
        kept = Vault().get("key").reveal() if "key" in Vault().names() else ""
    except DamagedFile:
        kept = ""
    if "wiped" in acknowledged:
        assert kept == "", "a wiped secret came back"
    elif "intent" in acknowledged:
        return  # it may be wiped at any moment from here
    elif "vault 2" in acknowledged:
        assert kept == "secret-2"
    elif "vault 1" in acknowledged:
        assert kept in {"secret-1", "secret-2"}


def _look_at_header(acknowledged: set[str]) -> run.Header | None:
    try:
        header = run.load_header()
    except DamagedFile:
        assert "header 1" not in acknowledged, "an acknowledged header cannot be read"
        return None
    if "forgotten" in acknowledged:
        assert header is None
    elif "wiped" in acknowledged:
        pass  # it is being removed
    elif "header 1" in acknowledged:
        assert header is not None, "an acknowledged header is lost"
        assert header.config["number"] in ((2,) if "header 2" in acknowledged else (1, 2))
    return header


def _look_at_record(header: run.Header, acknowledged: set[str]) -> None:
    record = header.store.load("one")
    if "completed" in acknowledged:
        assert record.status is Status.COMPLETED, "a completed step is lost"
        assert record.data == {"result": 1}
    elif "intent" in acknowledged and record.status is not Status.COMPLETED:
        assert record.intent == {"key": "k"}, "an intent is lost: its effect could happen twice"
    elif "begun 2" in acknowledged:
        assert record.attempt >= 2
    elif "begun 1" in acknowledged:
        assert record.status is not Status.PENDING, "nobody knows that the step was begun"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.setenv("BLOCKHOST_ROOT", str(root))
    return root


def test_no_cut_loses_what_was_acknowledged(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    operations = replay.record(WRITER, place)
    count = replay.cut_everywhere(operations, place, _look)
    with capsys.disabled():
        print(f"\n{count} trees after {len(operations)} operations")
    assert count >= FEWEST_TREES


@pytest.mark.parametrize("plant", ["no-fsync-record", "no-fsync-directory"])
def test_a_missing_fsync_is_seen(place: Path, plant: str) -> None:
    """The control: a suite that cannot see this would prove nothing."""
    operations = replay.record(WRITER, place, plant=plant)
    with pytest.raises(AssertionError):
        replay.cut_everywhere(operations, place, _look)
