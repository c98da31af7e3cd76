"""`python3 -m installer.firstboot`: run what first boot still lacks.

Exit code 0: every step is done. 1: something failed; the card shows it, and the unit tries again.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from collections.abc import Sequence

from blockhost import paths
from blockhost.errors import BlockhostError, RecordNotKept
from blockhost.files import make_dir
from blockhost.i18n import gettext as _
from blockhost.pipeline import Event, Runner
from blockhost.pipeline.child import ChildLauncher
from blockhost.pipeline.runner import EventType
from installer.firstboot import plan
from installer.firstboot.hooks import log_file
from installer.firstboot.progress import ProgressFile
from installer.network import address, bridge

log = logging.getLogger("firstboot")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="installer.firstboot", description=_("Prepare this host for its wizard.")
    )
    parser.add_argument("--list", action="store_true", help=_("print the steps in order and stop"))
    if parser.parse_args(argv).list:
        for step in plan.steps():
            print(f"{step.id}\t{step.label}")
        return 0
    try:
        _open_log()
        return 0 if run() else 1
    except (BlockhostError, OSError) as error:
        print(f"firstboot: {error}", file=sys.stderr)
        return 1


def run() -> bool:
    """Run both parts; True when every step is done."""
    if not paths.state_dir().is_dir():
        make_dir(paths.state_dir(), mode=0o750)
    _settle_network()
    _forget_volatile()
    launcher = ChildLauncher("installer.firstboot.plan:steps")
    listener = _Listener()
    results = []
    for part in (plan.PREPARE, plan.DOOR):
        runner = Runner(part, plan.store(), launcher, listener=listener, keep_going=plan.keeps_going)
        try:
            results.append(runner.run())
        except RecordNotKept as error:  # the card has it from /run, which is another file system
            listener.progress.stop(error.step_id, f"{error} {error.hint}")
            raise
    listener.progress.end()
    log.info(
        "first boot is complete" if all(results) else "first boot is not complete; it will be tried again"
    )
    return all(results)


def _settle_network() -> None:
    """What a power cut left open in the network is settled at every start, whatever is done already."""
    try:
        bridge.recover()
        address.recover(patient=True)
    except BlockhostError as error:
        log.warning("the network: %s: %s", error, error.hint)


def _forget_volatile() -> None:
    for step in plan.volatile():
        log.info("%s: no longer in place, so it runs again", step.id)
        plan.store().forget(step.id)


class _Listener:
    """One line a change for the log; what a step does now, for the card."""

    def __init__(self) -> None:
        self.progress = ProgressFile()

    def __call__(self, event: Event) -> None:
        if event.type is EventType.LOG:
            log.info("%s: %s", event.step_id, event.data["line"])
            self.progress.note(event.step_id, str(event.data["line"]))
        elif event.type is EventType.PROGRESS:
            self.progress.note(event.step_id, str(event.data["message"]), event.data["fraction"])
        else:
            status, error, hint = (event.data[key] for key in ("status", "error", "hint"))
            log.info("%s", ": ".join(str(word) for word in (event.step_id, status, error, hint) if word))
            self.progress.begin(event.step_id)


def _open_log() -> None:
    log_file().parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(log_file(), encoding="utf-8")
    with contextlib.suppress(PermissionError):
        log_file().chmod(0o640)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z"))
    logging.basicConfig(level=logging.INFO, handlers=[handler, logging.StreamHandler()])


if __name__ == "__main__":
    sys.exit(main())
