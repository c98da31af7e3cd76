"""One named fact that should hold, with its evidence and the way to mend it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """What a failed check means: an error stops the setup, a warning is shown."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether the fact holds, and what was seen."""

    ok: bool
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What a check may look at besides the host itself: the configuration of the run, if any."""

    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Check:
    """A fact: `id` such as `NET-DNS-02`, a label, how to look, and what to do when it fails."""

    id: str
    label: str
    probe: Callable[[CheckContext], Finding]
    severity: Severity = Severity.ERROR
    fix: str = ""
