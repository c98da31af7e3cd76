"""Broken plugins cost their own step: it fails with bounded, redacted words, and nothing survives."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testing.fixtures.plans.zoo import STEPS, TUPLES
from testing.fixtures.worker_rig import WorkerRig, descendants, is_alive

CANARY = "canary-7b1e55d0"
EXPECTED = {
    "raises": "internal error (RuntimeError)",
    "exits": "ended without a result",
    "exits_hard": "ended without a result",
    "segfaults": "SIGSEGV",
    "sleeps": "no result within 3 s",
    "forks": "internal error",
    "floods": "internal error",
    "prints_secret": "internal error",
    "mutates": "not JSON",
    "wrong_data": "",
    "hangs_on_exit": "internal error",
    "closes_everything": "",
    "kills_its_parent": "",
    "no_effect": "did not take effect",
    "tuple_false": "the chain said no",
    "tuple_none": "returned NoneType",
    "tuple_true_alone": "returned bool",
    "tuple_text": "returned",
    "tuple_raises": "internal error (ZeroDivisionError)",
}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[WorkerRig]:
    rig = WorkerRig(tmp_path, plan="testing.fixtures.plans.zoo")
    yield rig
    rig.close()


def test_the_zoo_is_complete() -> None:
    assert set(EXPECTED) == {*STEPS, *TUPLES}


@pytest.mark.parametrize("animal", EXPECTED)
def test_a_broken_step_fails_alone(rig: WorkerRig, animal: str) -> None:
    rig.environment["BLOCKHOST_ZOO"] = animal
    rig.start()
    rig.ask("keep", name="key", value=CANARY)
    started = time.monotonic()
    assert rig.ask("start", answers={"key": {"$secret": "key"}})["ok"]
    failed = rig.wait_for("failed", "completed", timeout=60)
    assert time.monotonic() - started < 45
    assert failed["status"] == "failed"
    step = failed["steps"][animal]
    assert EXPECTED[animal] in step["error"]
    assert len(step["error"]) < 500
    assert CANARY not in str(failed)
    # The worker is as well as before: nothing of the step is left, and it can be tried again.
    assert rig.process is not None
    pid = rig.process.pid
    rig.until(lambda: len(descendants(pid)) <= 2, "only the fork server and its tracker are left")
    daemon = rig.root / "daemon.pid"
    if daemon.exists():
        assert not is_alive(int(daemon.read_text()))
    assert rig.ask("retry")["ok"]
    rig.wait_for("failed")
    _assert_no_canary(rig.root)
    assert sum(path.stat().st_size for path in rig.root.rglob("*") if path.is_file()) < 20 * 1024 * 1024


def _assert_no_canary(root: Path) -> None:
    seen = [
        str(path)
        for path in root.rglob("*")
        if path.is_file() and "vault.json" not in path.name and CANARY.encode() in path.read_bytes()
    ]
    assert seen == []
