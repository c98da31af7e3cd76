"""A broken step costs itself only."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from blockhost.errors import BlockhostError
from blockhost.pipeline.child import MAX_LOG_BYTES, ChildLauncher
from blockhost.pipeline.runner import Job, Report
from blockhost.secret import Secret

sys.path.insert(0, str(Path(__file__).parent))
import pipeline_plan

STEPS = {step.id: step for step in pipeline_plan.steps()}
CANARY = "hunter2-canary-value"


class Listener:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.fractions: list[float] = []
        self.intents: list[dict[str, object]] = []

    def progress(self, fraction: float, message: str) -> None:
        self.fractions.append(fraction)

    def log(self, line: str) -> None:
        self.lines.append(line)

    def intent(self, data: dict[str, object]) -> None:
        self.intents.append(data)


@pytest.fixture(scope="module")
def launcher() -> ChildLauncher:
    return ChildLauncher("pipeline_plan:steps", secrets={"key": Secret(CANARY)}, preload=["pytest"])


def launch(launcher: ChildLauncher, name: str, **config: object) -> tuple[Report, Listener]:
    listener = Listener()
    return launcher.launch(Job(STEPS[name], config, 1), listener), listener


def test_good_step_reports_result_config_and_output(launcher: ChildLauncher) -> None:
    report, heard = launch(launcher, "good", size=1)
    assert report == Report(data={"answer": 42}, config={"colour": "blue"})
    assert heard.lines == ["printed by the step"]
    assert heard.fractions == [0.5]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("fails", "no gateway"),
        ("bug", "internal error (KeyError)"),
        ("leaves", "without a result"),
        ("vanishes", "without a result"),
        ("segfaults", "SIGSEGV"),
        ("not_json", "not JSON"),
        ("no_effect", "did not take effect"),
    ],
)
def test_bad_step_fails_with_its_reason(launcher: ChildLauncher, name: str, error: str) -> None:
    report, _ = launch(launcher, name)
    assert error in report.error


def test_failure_keeps_its_hint(launcher: ChildLauncher) -> None:
    assert launch(launcher, "fails")[0].hint == "plug it in"


def test_traceback_goes_to_the_log(launcher: ChildLauncher) -> None:
    _, heard = launch(launcher, "bug")
    assert any("KeyError" in line for line in heard.lines)


def test_hanging_step_is_stopped_at_its_deadline(launcher: ChildLauncher) -> None:
    listener = Listener()
    report = launcher.launch(Job(replace(STEPS["hangs"], timeout_s=0.3), {}, 1), listener)
    assert "no result within 0.3 s" in report.error


def test_flood_is_cut_and_said(launcher: ChildLauncher) -> None:
    report, heard = launch(launcher, "floods")
    assert report.error == ""
    assert heard.lines[-1] == "[more output was dropped]"
    assert sum(map(len, heard.lines)) < MAX_LOG_BYTES + 70_000


@pytest.mark.parametrize(
    ("name", "deadline"), [("daemonizes", 20.0), ("serves", 20.0), ("hangs_with_daemon", 1.5)]
)
def test_nothing_survives_a_step(launcher: ChildLauncher, tmp_path: Path, name: str, deadline: float) -> None:
    pid_file = tmp_path / "pid"
    config = {"pid_file": str(pid_file)}
    launcher.launch(Job(replace(STEPS[name], timeout_s=deadline), config, 1), Listener())
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_secrets_are_removed_from_everything_said(launcher: ChildLauncher) -> None:
    report, heard = launch(launcher, "tells_secret")
    assert CANARY not in report.error
    assert "bad key [redacted]" in report.error
    assert heard.lines
    assert not any(CANARY in line for line in heard.lines)


def test_intent_reaches_the_parent_before_the_step_goes_on(launcher: ChildLauncher) -> None:
    report, heard = launch(launcher, "intends")
    assert heard.intents == [{"nonce": 7}]
    assert report.data == {"nonce": {"nonce": 7}}


def test_previous_intent_is_handed_back(launcher: ChildLauncher) -> None:
    listener = Listener()
    report = launcher.launch(Job(STEPS["intends"], {}, 2, {"nonce": 9}), listener)
    assert listener.intents == []
    assert report.data == {"nonce": {"nonce": 9}}


def test_environment_of_now_reaches_the_child(
    launcher: ChildLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch(launcher, "good")  # the fork server runs, with the environment of then
    monkeypatch.setenv("BLOCKHOST_ROOT", "/somewhere")
    answer = launcher.call("pipeline_plan:call_me", {"a": 1}, config={"b": 2})
    assert answer == {"got": {"a": 1}, "config": {"b": 2}, "root": "/somewhere"}


def test_call_of_nothing_fails_by_name(launcher: ChildLauncher) -> None:
    with pytest.raises(BlockhostError, match=r"exited|AttributeError"):
        launcher.call("pipeline_plan:no_such_function", {})
