"""First boot's plan: what prepares the host, then what opens its door.

A failed preparation never locks the operator out: the door's steps run in any case, the card shows
what failed, and the unit tries again. Within the preparations a failure of a hook or of the packages
stops the others, as the plugin contract says; the bridge and the runtime stop nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from blockhost import paths
from blockhost.pipeline import RecordStore, Step
from blockhost.pipeline.context import StepContext
from installer.firstboot.steps import (
    bridge,
    engine_hook,
    network,
    network_wait,
    nodejs,
    otp,
    packages,
    provisioner_hook,
    setup_site,
    tls,
)
from installer.network.state import default_routes

PREPARE: tuple[Step, ...] = (
    network_wait.STEP,
    packages.STEP,
    provisioner_hook.STEP,
    bridge.STEP,
    nodejs.STEP,
    engine_hook.STEP,
)
DOOR: tuple[Step, ...] = (network.STEP, tls.STEP, setup_site.STEP, otp.STEP)

#: Steps whose failure the rest of their part can do without.
OPTIONAL = frozenset({network_wait.STEP.id, bridge.STEP.id, nodejs.STEP.id, network.STEP.id})


def steps() -> Sequence[Step]:
    """All steps in order: what the child processes load, and what the card lists."""
    return (*PREPARE, *DOOR)


def keeps_going(step: Step) -> bool:
    return step.id in OPTIONAL


def store() -> RecordStore:
    """The records, whose done files are the contract's markers."""
    return RecordStore(paths.state_dir(), done=".step-{id}", open=".step-{id}.open")


def volatile() -> list[Step]:
    """Completed steps whose effect did not outlive the last boot: addresses change, /run is empty."""
    return [
        step for step, holds in _HOLDS if store().done_file(step.id).exists() and not holds(_context(step))
    ]


def _has_route(_context: StepContext) -> bool:
    return bool(default_routes())


_HOLDS: tuple[tuple[Step, Callable[[StepContext], bool]], ...] = (
    (network_wait.STEP, _has_route),
    (bridge.STEP, bridge.is_done),
    (tls.STEP, tls.is_done),
    (setup_site.STEP, setup_site.is_done),
    (otp.STEP, otp.is_done),
)


def _context(step: Step) -> StepContext:
    return StepContext(step_id=step.id, config={})
