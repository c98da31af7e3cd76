"""A rotating sample of crash points and of failing writes; `make test-crash` tells all of them."""

from __future__ import annotations

import os
import shutil

import pytest

from testing.crash.harness import (
    FEWEST_DEATHS,
    FEWEST_ERRORS,
    STEPS,
    Order,
    Points,
    one_each,
    orders,
    sample,
    tell_points,
    todays_seed,
)
from testing.crash.points import Outcome, Point

pytestmark = pytest.mark.crash

DEATHS = int(os.environ.get("BLOCKHOST_CRASH_SAMPLE") or 25)
ERRORS = int(os.environ.get("BLOCKHOST_ERROR_SAMPLE") or 40)
FULL_DISKS = 4
#: Defects that the harness must see.
RECORD_BEFORE_EFFECT = "record-before-effect"
SWALLOWED_FSYNC = "swallowed-fsync"
ON_WITHOUT_RECORD = "on-without-record"
#: Steps without which the tree is another one.
VISIBLE = ("engine_config", "network", "https", "signup")

Told = tuple[Points, list[Outcome]]


def _choose(points: Points) -> list[Order]:
    """Both samples and the controls, for the same machines: making one costs more than twenty points."""
    seed = todays_seed()
    # Before the runner asks for the step's process: by then, nothing but the record may be there.
    begun = [p for p in points.deaths if (p.call, p.number) == ("connect", 1) and p.step in VISIBLE]
    fsyncs = [point for point in points.errors if point.must_be_told]
    records = [point for point in fsyncs if point.target.startswith("run@") and "/finalize/" in point.place]
    return [
        *orders(sample(points.deaths, DEATHS, seed)),
        *orders(sample(points.errors, ERRORS, seed)),
        *orders(sample(points.full_disks, FULL_DISKS, seed)),
        *orders(sample(begun, 1, seed), plant=RECORD_BEFORE_EFFECT),
        *orders(sample(fsyncs, 1, seed), plant=SWALLOWED_FSYNC),
        *orders(sample(records, 1, seed), plant=ON_WITHOUT_RECORD),
    ]


@pytest.fixture(scope="module")
def told() -> Told:
    if not shutil.which("strace"):
        pytest.skip("strace is not installed: scripts/check-build-deps.sh --install")
    return tell_points(_choose, jobs=2)


def _outcomes(told: Told, plant: str, *, is_death: bool) -> list[Outcome]:
    return [o for o in told[1] if (o.plant, o.point.is_death, o.point.is_lasting) == (plant, is_death, False)]


def _story(outcomes: list[Outcome]) -> list[str]:
    return [f"{o.point}: {'; '.join(o.complaints)}" for o in outcomes if o.complaints]


def test_a_sample_of_deaths_loses_nothing(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    total, outcomes = len(told[0].deaths), _outcomes(told, "", is_death=True)
    killed = sum(outcome.struck for outcome in outcomes)
    with capsys.disabled():
        print(f"\n{total} crash points, {len(outcomes)} told (seed {todays_seed()}), {killed} killed")
    assert _story(outcomes) == []
    assert total >= FEWEST_DEATHS
    assert killed >= 0.9 * len(outcomes)


def test_a_sample_of_failing_writes_is_told_and_repaired(
    told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    total, outcomes = len(told[0].errors), _outcomes(told, "", is_death=False)
    struck = sum(outcome.struck for outcome in outcomes)
    retried = sum(outcome.retried for outcome in outcomes)
    with capsys.disabled():
        print(
            f"\n{total} errors of calls, {len(outcomes)} told (seed {todays_seed()}), "
            f"{struck} failed, {retried} of them stopped the run"
        )
    assert _story(outcomes) == []
    assert total >= FEWEST_ERRORS
    assert struck >= 0.9 * len(outcomes)
    assert retried >= 0.25 * len(outcomes), "so few stop the run? is the fault where we think?"


def test_a_sample_of_full_disks_is_told_and_repaired(told: Told) -> None:
    if not told[0].full_disks:
        pytest.skip("a full disk needs one of its own: may not mount here")
    outcomes = [outcome for outcome in told[1] if outcome.point.is_lasting]
    assert _story(outcomes) == []
    assert len(told[0].full_disks) == 2 * len(STEPS) + 1
    # A file system may keep a few pages back, and let one of them through.
    assert sum(outcome.retried for outcome in outcomes) >= FULL_DISKS - 1


@pytest.mark.parametrize("plant", [RECORD_BEFORE_EFFECT, SWALLOWED_FSYNC, ON_WITHOUT_RECORD])
def test_a_planted_defect_is_seen(told: Told, plant: str) -> None:
    """The control: with this defect planted, the same harness must complain."""
    assert _story(_outcomes(told, plant, is_death=plant == RECORD_BEFORE_EFFECT)) != []


def test_the_sample_rotates_and_covers_every_target() -> None:
    points = [Point(f"step:{n}", "write", i) for n in range(10) for i in range(1, 60)]
    one, other = sample(points, 20, "2026-01-01"), sample(points, 20, "2026-01-02")
    assert one != other
    assert sample(points, 20, "2026-01-01") == one
    assert len({point.target for point in one}) == 10


def test_over_the_days_each_call_meets_all_its_errnos() -> None:
    points = [Point("start", "fsync", n, errno) for n in range(1, 9) for errno in ("EIO", "ENOSPC")]
    days = [one_each(points, f"2026-01-{day:02}") for day in range(1, 21)]
    assert all([point.number for point in told] == [*range(1, 9)] for told in days)
    assert {point for told in days for point in told} == {*points}
