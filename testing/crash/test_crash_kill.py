"""A rotating sample of crash points; `make test-crash` kills at all of them."""

from __future__ import annotations

import os
import shutil

import pytest

from testing.crash.harness import FEWEST_POINTS, kill_everywhere, sample, todays_seed
from testing.crash.points import Outcome, Point

pytestmark = pytest.mark.crash

SAMPLE = int(os.environ.get("BLOCKHOST_CRASH_SAMPLE") or 25)


def _story(outcomes: list[Outcome]) -> list[str]:
    return [f"{o.point}: {'; '.join(o.complaints)}" for o in outcomes if o.complaints]


def test_a_sample_of_deaths_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert shutil.which("strace"), "strace is needed: scripts/check-build-deps.sh --install"
    total, outcomes = kill_everywhere(SAMPLE, jobs=2)
    killed = sum(outcome.killed for outcome in outcomes)
    with capsys.disabled():
        print(f"\n{total} crash points, {len(outcomes)} told (seed {todays_seed()}), {killed} killed")
    assert _story(outcomes) == []
    assert total >= FEWEST_POINTS
    assert killed >= 0.9 * len(outcomes)


def test_a_record_before_its_effect_is_seen() -> None:
    """The control: with this defect planted, the same harness must complain."""
    _, outcomes = kill_everywhere(2, jobs=2, plant="record-before-effect", only="step:", full=True)
    assert _story(outcomes) != []


def test_the_sample_rotates_and_covers_every_target() -> None:
    points = [Point(f"step:{n}", "write", i) for n in range(10) for i in range(1, 60)]
    one, other = sample(points, 20, "2026-01-01"), sample(points, 20, "2026-01-02")
    assert one != other
    assert sample(points, 20, "2026-01-01") == one
    assert len({point.target for point in one}) == 10
