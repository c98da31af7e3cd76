"""The state of a run is derived; commands are legal or refused by one table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from blockhost.errors import DamagedFile, WorkerError
from blockhost.pipeline.records import Record, Status
from blockhost.pipeline.step import Step
from installer.finalize import run
from installer.finalize.run import LEGAL, Command, Header, RunStatus, StepInfo, View
from installer.finalize.supervisor import _require_retryable

STEPS = (StepInfo("one", "One", expect_s=(1, 1)), StepInfo("two", "Two", expect_s=(3, 3), irreversible=True))


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BLOCKHOST_ROOT", str(tmp_path))
    (tmp_path / "var/lib/blockhost").mkdir(parents=True)
    return tmp_path


def _header() -> Header:
    header = Header.new({"a": 1}, {"a": 1}, STEPS, "")
    run.save_header(header)
    return header


def _status(header: Header, one: Status, two: Status, *, running: bool = False) -> RunStatus:
    for step_id, status in (("one", one), ("two", two)):
        if status is not Status.PENDING:
            header.store.save(Record(step_id, status=status, error="broken" * (status is Status.FAILED)))
    return View.look(running=running).status


def test_without_a_header_nothing_was_started() -> None:
    assert View.look(running=False).status is RunStatus.PENDING


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        (Status.PENDING, Status.PENDING, RunStatus.INTERRUPTED),
        (Status.IN_PROGRESS, Status.PENDING, RunStatus.INTERRUPTED),
        (Status.COMPLETED, Status.PENDING, RunStatus.INTERRUPTED),
        (Status.COMPLETED, Status.FAILED, RunStatus.FAILED),
        # All steps done, but the marker was not written: somebody must still write it.
        (Status.COMPLETED, Status.COMPLETED, RunStatus.INTERRUPTED),
    ],
)
def test_the_state_follows_from_the_records(one: Status, two: Status, expected: RunStatus) -> None:
    assert _status(_header(), one, two) is expected


def test_completed_needs_the_marker_too() -> None:
    header = _header()
    run.complete_marker().write_text("{}")
    assert _status(header, Status.COMPLETED, Status.COMPLETED) is RunStatus.COMPLETED


def test_whoever_holds_the_lock_makes_it_running() -> None:
    assert _status(_header(), Status.IN_PROGRESS, Status.PENDING, running=True) is RunStatus.RUNNING


def test_a_header_comes_back_as_it_was_written() -> None:
    assert run.load_header() is None
    header = _header()
    assert run.load_header() == header


def test_a_damaged_header_is_a_failure_that_names_its_remedy(machine: Path) -> None:
    _header()
    run.header_file().write_text("{")
    view = View.look(running=False)
    assert view.status is RunStatus.FAILED
    document = view.as_json({})
    assert str(run.header_file()) in document["error"]
    assert "reset" in document["hint"]


def test_the_previous_header_serves_when_the_newest_is_damaged() -> None:
    first = _header()
    run.save_header(replace(first, plan_hash="newer"))
    run.header_file().write_text("{")
    assert run.load_header() == first


def test_progress_weighs_steps_by_their_usual_time() -> None:
    header = _header()
    header.store.save(Record("one", status=Status.COMPLETED))
    header.store.save(Record("two", status=Status.IN_PROGRESS))
    view = View.look(running=True)
    assert view.progress({}) == 25
    assert view.progress({"two": 0.5}) == 62
    assert View.look(running=True).as_json({"two": 0.5})["current_step"] == "two"


def test_the_status_document_has_the_contracts_keys() -> None:
    header = _header()
    header.store.save(Record("one", status=Status.FAILED, error="no", hint="try"))
    document = View.look(running=False).as_json({})
    assert {key: document[key] for key in ("status", "failed_step", "error", "hint", "completed_steps")} == {
        "status": "failed", "failed_step": "one", "error": "no", "hint": "try", "completed_steps": [],
    }  # fmt: skip
    assert document["steps"]["one"]["status"] == "failed"
    assert document["steps"]["two"]["status"] == "pending"
    assert set(document["steps"]["two"]) >= {"status", "error", "hint", "started_at", "completed_at"}


def test_every_command_is_in_the_table_and_nothing_is_legal_while_running() -> None:
    assert set(LEGAL) == set(Command)
    assert not [command for command, states in LEGAL.items() if RunStatus.RUNNING in states]


@pytest.mark.parametrize("command", Command)
@pytest.mark.parametrize("status", RunStatus)
def test_an_illegal_command_says_why(command: Command, status: RunStatus) -> None:
    if status in LEGAL[command]:
        run.require(command, status, "id")
        return
    with pytest.raises(WorkerError) as refusal:
        run.require(command, status, "id")
    assert refusal.value.code
    assert refusal.value.data == {"run_id": "id"}


def test_running_is_refused_with_that_code() -> None:
    with pytest.raises(WorkerError) as refusal:
        run.require(Command.START, RunStatus.RUNNING, "id")
    assert refusal.value.code == "running"


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (Record("two"), False),
        (Record("two", status=Status.FAILED), False),
        (Record("two", status=Status.FAILED, intent={"key": 1}), True),
        (Record("two", status=Status.COMPLETED), True),
    ],
)
def test_an_irreversible_step_is_spent_from_its_intent_on(record: Record, *, expected: bool) -> None:
    assert run.spent(record, STEPS[1]) is expected
    assert run.spent(record, STEPS[0]) is False


def test_a_steps_code_never_runs_in_the_worker() -> None:
    step = StepInfo.of(Step("one", "One", apply=lambda context: None, timeout_s=5)).as_step()
    assert step.timeout_s == 5
    with pytest.raises(AssertionError):
        step.apply(None)  # type: ignore[arg-type]


def test_damage_of_both_generations_is_raised() -> None:
    run.save_header(_header())
    for file in run.header_file().parent.glob("setup-state.json*"):
        file.write_text("{")
    with pytest.raises(DamagedFile):
        run.load_header()


FULL = run.Stop("/etc/blockhost/x: No space left on device", "Free some space", "one")


@pytest.mark.parametrize(
    ("one", "two", "named", "shown"),
    [
        (Status.IN_PROGRESS, Status.PENDING, "one", "one"),  # its record could not be written
        (Status.COMPLETED, Status.PENDING, "one", "one"),  # written, but nobody knows how durably
        (Status.COMPLETED, Status.PENDING, "", "two"),  # between steps: Retry starts there
        (Status.COMPLETED, Status.COMPLETED, "", "two"),  # the marker at the end
    ],
)
def test_a_run_that_no_record_could_stop_is_shown_as_failed(
    one: Status, two: Status, named: str, shown: str
) -> None:
    header = _header()
    _status(header, one, two)
    view = View.look(running=False, stop=replace(FULL, step_id=named))
    document = view.as_json({})
    assert (document["status"], document["failed_step"]) == ("failed", shown)
    assert (document["error"], document["hint"]) == (FULL.error, FULL.hint)
    assert document["steps"][shown]["status"] == "failed"
    _require_retryable(view, shown)
    assert [record.status for record in view.records] == [one, two], (
        "what is on the disk says no more than that"
    )


def test_a_run_that_goes_on_forgets_how_it_stopped() -> None:
    view = View.look(running=True, stop=FULL)
    _status(_header(), Status.IN_PROGRESS, Status.PENDING)
    assert view.status is RunStatus.RUNNING
    assert View.look(running=True, stop=FULL).as_json({})["error"] is None


def test_a_stop_without_a_run_leaves_it_not_started() -> None:
    assert View.look(running=False, stop=FULL).status is RunStatus.PENDING
