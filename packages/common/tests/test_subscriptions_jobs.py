"""The book of jobs and the operator's command."""

from __future__ import annotations

import datetime
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from blockhost.errors import BlockhostError
from blockhost.subscriptions import Event, cli
from blockhost.subscriptions.jobs import LONGEST_WAIT_S, MOST_ATTEMPTS, JobStore, wait_s


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_800_000_000

    def __call__(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.seconds, datetime.UTC)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jobs(root: Path, clock: Clock) -> JobStore:
    return JobStore(clock=clock)


def due(jobs: JobStore) -> list[int]:
    return [job.subscription for job in jobs.due()]


def test_events_wake_jobs_and_move_the_position(jobs: JobStore) -> None:
    assert jobs.position("local") == ""
    jobs.take_in("local", [Event("1", 7), Event("2", 8), Event("3", 7)])
    jobs.take_in("local", [])
    assert (jobs.position("local"), jobs.position("evm")) == ("3", "")
    assert due(jobs) == [7, 8]
    assert jobs.get(7).wakes == 1


def test_position_and_jobs_are_one_transaction(jobs: JobStore) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        jobs.take_in("local", [Event("1", 7), Event("2", "seven")])  # type: ignore[arg-type]
    assert (jobs.position("local"), due(jobs)) == ("", [])


def test_missing_jobs_are_made_and_known_ones_left(jobs: JobStore) -> None:
    jobs.take_in("local", [Event("1", 7)])
    jobs.settle(jobs.get(7), until=None)
    jobs.ensure([7, 8])
    assert due(jobs) == [8]


def test_settled_job_comes_back_at_its_time(jobs: JobStore, clock: Clock) -> None:
    jobs.take_in("local", [Event("1", 7)])
    jobs.settle(jobs.begin(jobs.get(7), "create"), until=clock.seconds + 60, served_until=5)
    job = jobs.get(7)
    assert (job.status, job.doing, job.served_until, due(jobs)) == ("settled", None, 5, [])
    clock.seconds += 60
    assert due(jobs) == [7]


def test_event_while_working_is_not_lost(jobs: JobStore) -> None:
    jobs.take_in("local", [Event("1", 7)])
    job = jobs.get(7)
    jobs.take_in("local", [Event("2", 7)])
    jobs.settle(job, until=None)
    assert (jobs.get(7).status, due(jobs)) == ("due", [7])
    job = jobs.get(7)
    jobs.take_in("local", [Event("3", 7)])
    jobs.fail(job, "no")
    assert (jobs.get(7).attempts, due(jobs)) == (0, [7])


def test_failures_wait_longer_and_longer_and_park(jobs: JobStore, clock: Clock) -> None:
    jobs.take_in("local", [Event("1", 7)])
    waits = []
    for number in range(MOST_ATTEMPTS):
        job = jobs.due()[0]
        assert job.attempts == number
        is_parked = jobs.fail(job, f"no {number}", "try that")
        assert is_parked is (number == MOST_ATTEMPTS - 1)
        assert due(jobs) == []
        waits.append((jobs.get(7).due_at or clock.seconds) - clock.seconds)
        clock.seconds += waits[-1]
    assert waits[:4] == [5, 10, 20, 40]
    assert (max(waits), waits[-1]) == (LONGEST_WAIT_S, 0)
    job = jobs.get(7)
    assert (job.status, job.note, job.hint) == ("parked", "no 11", "try that")
    clock.seconds += 10**6
    assert due(jobs) == []
    jobs.take_in("local", [Event("2", 7)])
    assert (due(jobs), jobs.get(7).attempts, jobs.get(7).note) == ([7], 0, "")


def test_hopeless_job_is_parked_at_once(jobs: JobStore) -> None:
    jobs.take_in("local", [Event("1", 7)])
    assert jobs.fail(jobs.get(7), "no", is_hopeless=True)
    assert jobs.get(7).status == "parked"


def test_longest_wait() -> None:
    assert [wait_s(number) for number in (1, 2, 8, 9, 60)] == [5, 10, 640, 900, 900]


def test_new_machine_knows_nothing_of_the_one_before(jobs: JobStore) -> None:
    jobs.take_in("local", [Event("1", 7)])
    job = jobs.know(jobs.know(jobs.get(7), "owner_in_guest", "a"), "delivered", "d")
    job = jobs.begin(job, "suspend")
    assert (job.owner_in_guest, job.delivered, job.doing) == ("a", "d", "suspend")
    job = jobs.begin(job, "create", is_new_machine=True)
    assert (job.owner_in_guest, job.delivered, job.doing) == (None, None, "create")


def test_retry_and_drop(jobs: JobStore) -> None:
    for call in (jobs.retry, jobs.drop, jobs.get):
        with pytest.raises(BlockhostError, match="no job for subscription 9"):
            call(9)
    jobs.take_in("local", [Event("1", 7)])
    jobs.settle(jobs.get(7), until=None, served_until=99)
    jobs.retry(7)
    assert (due(jobs), jobs.get(7).served_until) == ([7], None)
    working = jobs.get(7)
    jobs.drop(7)
    jobs.fail(working, "no")  # the attempt under way does not undo the operator's word
    assert (due(jobs), jobs.get(7).status) == ([], "settled")


def test_book_survives_its_process_and_can_be_shared(jobs: JobStore, clock: Clock) -> None:
    jobs.take_in("local", [Event("1", 7)])
    jobs.begin(jobs.get(7), "create")
    again = JobStore(clock=clock, create=False)
    assert (due(again), again.get(7).doing, again.position("local")) == ([7], "create", "1")


# --- the command ---------------------------------------------------------------------------------

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(root: Path, runs: Callable[..., Run]) -> Run:
    return runs(cli.main)


def test_command_before_setup_makes_nothing(run: Run, root: Path) -> None:
    code, out, err = run("list")
    assert (code, out) == (1, "")
    assert "there is no book of jobs yet" in err
    assert list((root / "var/lib/blockhost").iterdir()) == []


@pytest.mark.parametrize(
    "words", [[], ["retry"], ["retry", "x"], ["drop", "-1"], ["list", "--status", "odd"]]
)
def test_command_wrong_usage(run: Run, words: list[str]) -> None:
    assert run(*words)[:2] == (2, "")


def test_operator_sees_what_is_parked(run: Run, jobs: JobStore) -> None:
    jobs.take_in("local", [Event("1", 7), Event("2", 8)])
    jobs.fail(jobs.get(7), "create: no space left", "make room", is_hopeless=True)
    jobs.begin(jobs.get(8), "create")
    _, out, err = run("list")
    assert "blockhost-subscriptions retry ID" in err
    assert [line.split(maxsplit=1)[0] for line in out.splitlines()] == ["ID", "7", "8"]
    assert "parked" in out
    assert "create: no space left" in out
    assert "create …" in out
    _, out, _ = run("list", "--status", "parked", "--format", "json")
    assert [(job["subscription"], job["vm_name"]) for job in json.loads(out)] == [(7, "blockhost-007")]
    assert "hint:            make room" in run("show", "7")[1]
    assert json.loads(run("show", "7", "--format", "json")[1])["status"] == "parked"
    assert run("retry", "7") == (0, "", "")
    assert due(jobs) == [7, 8]
    assert run("drop", "8") == (0, "", "")
    assert due(jobs) == [7]
    code, _, err = run("retry", "9")
    assert (code, "no job for subscription 9" in err) == (1, True)
