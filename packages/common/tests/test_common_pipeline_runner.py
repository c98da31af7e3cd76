"""The loop, its records, and what a restart makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from blockhost.errors import StepFailed
from blockhost.pipeline import Event, Record, RecordStore, Runner, Status, Step, StepContext
from blockhost.pipeline.child import InlineLauncher


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    return RecordStore(tmp_path / "records")


def step(name: str, done: list[str], *, fail: bool = False, check: object = None) -> Step:
    def apply(context: StepContext) -> None:
        if fail:
            raise StepFailed(f"{name} broke", hint="mend it")
        done.append(name)
        context.config[name] = len(done)

    return Step(name, name, apply=apply, check=check)  # type: ignore[arg-type]


def runner(steps: list[Step], store: RecordStore, heard: list[Event] | None = None, **kw: object) -> Runner:
    listener: Callable[[Event], None] | None = heard.append if heard is not None else None
    return Runner(steps, store, InlineLauncher(), listener=listener, **kw)  # type: ignore[arg-type]


def test_steps_run_in_order_and_are_recorded(store: RecordStore) -> None:
    done: list[str] = []
    assert runner([step("a", done), step("b", done)], store).run()
    assert done == ["a", "b"]
    assert [r.status for r in store.all(["a", "b"])] == [Status.COMPLETED] * 2


def test_second_run_does_nothing(store: RecordStore) -> None:
    done: list[str] = []
    steps = [step("a", done), step("b", done)]
    runner(steps, store).run()
    runner(steps, store).run()
    assert done == ["a", "b"]


def test_failure_stops_and_says_why(store: RecordStore) -> None:
    done: list[str] = []
    assert not runner([step("a", done), step("b", done, fail=True), step("c", done)], store).run()
    record = store.load("b")
    assert (record.status, record.error, record.hint) == (Status.FAILED, "b broke", "mend it")
    assert store.load("c").status is Status.PENDING


def test_failed_step_can_be_passed_over(store: RecordStore) -> None:
    done: list[str] = []
    steps = [step("a", done, fail=True), step("b", done)]
    assert not runner(steps, store, keep_going=lambda s: s.id == "a").run()
    assert done == ["b"]


def test_retry_runs_only_what_is_missing(store: RecordStore) -> None:
    done: list[str] = []
    runner([step("a", done), step("b", done, fail=True)], store).run()
    assert runner([step("a", done), step("b", done)], store).run()
    assert done == ["a", "b"]
    assert store.load("b").attempt == 2
    assert store.load("b").error == ""


def test_interrupted_step_whose_effect_is_there_is_not_repeated(store: RecordStore) -> None:
    done: list[str] = []
    store.save(Record("a", status=Status.IN_PROGRESS, attempt=1))
    assert runner([step("a", done, check=lambda context: True)], store).run()
    assert done == []


def test_interrupted_step_without_effect_runs_again(store: RecordStore) -> None:
    done: list[str] = []
    store.save(Record("a", status=Status.IN_PROGRESS, attempt=1))
    assert runner([step("a", done)], store).run()
    assert done == ["a"]


def test_later_steps_see_what_earlier_ones_changed_even_after_a_restart(store: RecordStore) -> None:
    done: list[str] = []
    seen: list[object] = []

    def look(context: StepContext) -> None:
        seen.append((context.config["a"], context.config["given"]))

    runner([step("a", done)], store).run()
    runner([step("a", done), Step("b", "", apply=look)], store, config={"given": "x"}).run()
    assert seen == [(1, "x")]


def test_bug_in_the_launcher_is_recorded_and_raised(store: RecordStore) -> None:
    class Broken:
        def launch(self, job: object, watcher: object) -> object:
            raise RuntimeError("fault of ours")

    with pytest.raises(RuntimeError):
        Runner([step("a", [])], store, Broken()).run()  # type: ignore[arg-type]
    assert store.load("a").status is Status.FAILED


def test_listener_that_raises_does_not_stop_the_run(store: RecordStore) -> None:
    def broken(event: Event) -> None:
        raise RuntimeError("nobody home")

    assert Runner([step("a", [])], store, InlineLauncher(), listener=broken).run()


def test_events_tell_the_story(store: RecordStore) -> None:
    heard: list[Event] = []
    runner([step("a", [])], store, heard).run()
    assert [event.data["status"] for event in heard] == ["in_progress", "completed"]


def test_intent_is_durable_before_the_effect(store: RecordStore) -> None:
    seen: list[object] = []

    def deploy(context: StepContext) -> None:
        context.intent({"nonce": 1})
        seen.append(store.load("deploy").intent)

    runner([Step("deploy", "", apply=deploy, irreversible=True)], store).run()
    assert seen == [{"nonce": 1}]


def test_damaged_done_record_is_checked_again_not_believed(store: RecordStore) -> None:
    done: list[str] = []
    steps = [step("a", done)]
    runner(steps, store).run()
    store.done_file("a").write_text("{}")
    assert store.load("a").status is Status.IN_PROGRESS
    runner(steps, store).run()
    assert done == ["a", "a"]


def test_every_truncation_and_bit_flip_is_noticed(store: RecordStore) -> None:
    store.save(Record("a", status=Status.COMPLETED, attempt=1, data={"x": 1}))
    path = store.done_file("a")
    whole = path.read_bytes()
    good = store.load("a")
    for cut in range(len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert store.load("a").status is not Status.COMPLETED
    for position in range(len(whole) - 1):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[position] ^= 1 << bit
            path.write_bytes(flipped)
            found = store.load("a")
            assert found.status is not Status.COMPLETED or found == good, (position, bit)


def test_record_of_another_step_is_refused(store: RecordStore) -> None:
    store.save(Record("a", status=Status.COMPLETED))
    store.done_file("a").rename(store.done_file("b"))
    assert store.load("b").status is Status.IN_PROGRESS


def test_first_boot_markers_have_their_names(tmp_path: Path) -> None:
    store = RecordStore(tmp_path, done=".step-{id}", open=".step-{id}.open")
    store.save(Record("bridge", status=Status.IN_PROGRESS))
    assert not (tmp_path / ".step-bridge").exists()
    store.save(Record("bridge", status=Status.COMPLETED))
    assert [path.name for path in tmp_path.iterdir()] == [".step-bridge"]
    assert json.loads((tmp_path / ".step-bridge").read_text())["record"]["status"] == "completed"
