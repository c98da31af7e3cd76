"""One idempotent piece of work, and what it says it will change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blockhost.pipeline.context import StepContext

DEFAULT_TIMEOUT_S = 600.0

#: What a change may concern; the plan groups by it.
CHANGE_KINDS = ("file", "unit", "package", "address", "command", "host", "transaction", "user", "vm")


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that a step will do: `kind` (see CHANGE_KINDS), what it touches, and how."""

    kind: str
    target: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of work that may be run again after a crash at any point.

    `apply` does it and raises `StepFailed` when it cannot. `check` says whether the effect is in
    place: it is asked before `apply` (done work is recognised) and after (work without effect
    fails). `plan` lists what would change. `irreversible` work spends or publishes something:
    its `apply` records an intent first. `expect_s` is the usual duration (shortest, longest),
    `timeout_s` the deadline of its process, both in seconds.
    """

    id: str
    label: str
    apply: Callable[[StepContext], None]
    check: Callable[[StepContext], bool] | None = None
    plan: Callable[[StepContext], Sequence[Change]] | None = None
    undo: Callable[[StepContext], None] | None = None
    hint: str = ""
    irreversible: bool = False
    expect_s: tuple[float, float] = (0, 60)
    timeout_s: float = DEFAULT_TIMEOUT_S
