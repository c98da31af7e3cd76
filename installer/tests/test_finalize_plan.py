"""The order of the plan, what it refuses, and the hash that the operator confirms."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from blockhost.errors import ManifestError
from blockhost.pipeline.context import StepContext
from blockhost.pipeline.step import Change, Step
from installer.finalize import commands, plan


def _step(name: str) -> Step:
    return Step(name, name, apply=lambda context: None)


def _plugin(name: str, steps: list[str], announced: list[str] | None = None) -> SimpleNamespace:
    manifest = SimpleNamespace(
        name=name,
        finalization_steps=tuple(steps if announced is None else announced),
        post_finalization_steps=(),
    )
    module = SimpleNamespace(
        get_finalization_steps=lambda: [_step(step) for step in steps],
        get_post_finalization_steps=lambda: [],
    )
    return SimpleNamespace(manifest=manifest, module=module)


def _install(monkeypatch: pytest.MonkeyPatch, engine: object, provisioner: object) -> None:
    found = SimpleNamespace(engine=engine, provisioner=provisioner, problems=())
    monkeypatch.setattr(plan.discovery, "discover", lambda: found)


def test_the_order_is_the_contracts() -> None:
    steps = plan.in_order(before=[_step("pre")], provisioner=[_step("disk")], after=[_step("post")])
    assert [step.id for step in steps] == [
        "pre", "disk", "ipv6", "https", "signup", "nginx", "post", "finalize", "validate",
    ]  # fmt: skip


def test_two_steps_with_one_id_are_refused() -> None:
    with pytest.raises(ManifestError, match="https"):
        plan.in_order(before=[_step("https")], provisioner=[], after=[])


def test_a_plugin_that_returns_other_steps_than_it_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, _plugin("chain", ["a"], announced=["a", "b"]), _plugin("kvm", []))
    with pytest.raises(ManifestError, match="chain"):
        plan.plan()


def test_a_missing_plugin_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, None, _plugin("kvm", []))
    with pytest.raises(ManifestError, match="plugins"):
        plan.plan()


def test_a_plan_of_the_wrong_shape_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Step("bad", "Bad", apply=lambda context: None, plan=lambda context: ["a file"])  # type: ignore[list-item]
    monkeypatch.setattr(plan, "plan", lambda: (bad,))
    with pytest.raises(ManifestError, match="expected Change, got str"):
        plan.changes(StepContext(step_id="bad", config={}), {"step_id": "bad"})


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("{root}/etc/blockhost/db.yaml", "/etc/blockhost/db.yaml"),
        ("{root}-beside/x", "{root}-beside/x"),
        ("/dev/vda", "/dev/vda"),
        ("nginx.service", "nginx.service"),
    ],
)
def test_a_plan_names_the_appliances_paths(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, target: str, shown: str
) -> None:
    monkeypatch.setenv("BLOCKHOST_ROOT", str(tmp_path))
    change = Change("file", target.format(root=tmp_path))
    step = Step("one", "One", apply=lambda _context: None, plan=lambda _context: [change])
    monkeypatch.setattr(plan, "plan", lambda: [step])
    found = plan.changes(StepContext(step_id="one", config={}), {"step_id": "one"})
    assert found["changes"][0]["target"] == shown.format(root=tmp_path)


def test_the_hash_follows_what_changes_and_nothing_else() -> None:
    change = {"kind": "file", "target": "/a", "detail": ""}
    one = [{"id": "a", "label": "A", "changes": [change]}]
    assert commands.plan_hash(one) == commands.plan_hash([{**one[0], "label": "translated"}])
    assert commands.plan_hash(one) != commands.plan_hash([{**one[0], "changes": []}])
    assert commands.plan_hash(one) != commands.plan_hash([{**one[0], "id": "b"}])
    assert Change("file", "/a").detail == ""
