"""What plugins return as steps: objects, bare tuples, and what is neither."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest

from blockhost.errors import ManifestError, StepFailed
from blockhost.pipeline.context import StepContext
from blockhost.pipeline.step import Step
from blockhost.placeholders import hide_secrets, placeholder, resolve_secrets
from blockhost.plugin_api import as_steps, as_wizard_module
from blockhost.secret import Secret

SIGNATURE = "0x" + "ab" * 65


def context(**config: Any) -> StepContext:
    return StepContext(step_id="one", config=config, secrets={"admin_signature": Secret(SIGNATURE)})


def adapted(function: Any) -> Step:
    (step,) = as_steps([("one", "One", function, "try again")], owner="zoo")
    return step


def test_function_that_returns_true_passes_and_leaves_its_result() -> None:
    def function(config: dict[str, Any]) -> tuple[bool, None]:
        config["_step_result_one"] = {"address": "0x1"}
        config["chain"] = {"id": 5}
        return True, None

    step, given = adapted(function), context(kept="yes")
    step.apply(given)
    assert (step.label, step.hint) == ("One", "try again")
    assert given.data == {"address": "0x1"}
    assert given.config == {"kept": "yes", "chain": {"id": 5}}


@pytest.mark.parametrize(
    ("returned", "complaint"),
    [
        ((False, "the chain is away"), "the chain is away"),
        ((False, None), "failed without a reason"),
        (False, "returned bool"),
        (None, "returned NoneType"),
        ((1, None), "returned tuple"),
        ((True,), "returned tuple"),
    ],
)
def test_whatever_is_not_a_success_fails(returned: object, complaint: str) -> None:
    with pytest.raises(StepFailed, match=complaint):
        adapted(lambda _config: returned).apply(context())


def test_result_that_is_no_object_fails() -> None:
    def function(config: dict[str, Any]) -> tuple[bool, None]:
        config["_step_result_one"] = "0x1"
        return True, None

    with pytest.raises(StepFailed, match="is str, expected dict"):
        adapted(function).apply(context())


def test_function_sees_secrets_and_none_stays_in_what_is_kept() -> None:
    seen: list[object] = []

    def function(config: dict[str, Any]) -> tuple[bool, None]:
        seen.extend([config["admin_signature"], config["engine"]["token"]])
        config["copy"] = [config["admin_signature"]]
        return True, None

    given = context(
        admin_signature=placeholder("admin_signature"), engine={"token": placeholder("admin_signature")}
    )
    adapted(function).apply(given)
    assert seen == [SIGNATURE, SIGNATURE]
    assert SIGNATURE not in json.dumps(given.config)
    assert given.config["admin_signature"] == placeholder("admin_signature")
    assert given.config["copy"] == [placeholder("admin_signature")]


def test_secret_that_was_not_given_is_named() -> None:
    with pytest.raises(StepFailed, match="'token' was not given"):
        adapted(lambda _config: (True, None)).apply(context(token=placeholder("token")))


def test_hiding_undoes_resolving() -> None:
    secrets = {"one": Secret("first"), "two": Secret("second"), "none": Secret("")}
    document = {"a": placeholder("one"), "b": [placeholder("two"), "plain", 3, None, ""]}
    assert hide_secrets(resolve_secrets(document, secrets.__getitem__), secrets) == document


@pytest.mark.parametrize(
    ("items", "complaint"),
    [
        ("one", "expected a list of steps, got str"),
        (None, "expected a list of steps, got NoneType"),
        ([("one", "One")], r"\[0\]: expected a Step or \(id, label, func\[, hint\]\), got tuple"),
        ([("one", "One", "not callable")], r"one: expected \(id, label, func"),
        ([("One!", "One", print)], r"\[0\]: expected a step id, got 'One!'"),
        ([("one", "One", print), ("one", "Two", print)], "one: two steps have this id"),
    ],
)
def test_what_is_no_step_is_refused_with_its_place(items: object, complaint: str) -> None:
    with pytest.raises(ManifestError, match=complaint):
        as_steps(items, owner="zoo")


def test_all_that_a_module_lacks_is_said_at_once() -> None:
    module = ModuleType("zoo")
    module.get_summary_data = "not callable"  # type: ignore[attr-defined]
    with pytest.raises(ManifestError) as caught:
        as_wizard_module(module, kind="engine")
    for name in ("blueprint", "get_finalization_steps", "get_post_finalization_steps", "get_summary_data"):
        assert name in str(caught.value)
