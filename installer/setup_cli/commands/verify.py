"""`blockhost-setup verify`: the validation report, now, on any later day too."""

from __future__ import annotations

import argparse
from typing import Any

from blockhost.i18n import gettext as _
from installer.setup_cli.commands._target import add_target, remote
from installer.setup_cli.local import has_worker, worker
from installer.setup_cli.output import Terminal, printable


def add_to(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "verify",
        parents=[common],
        help=_("check that the host is as it should be"),
        description=_("Run every check of the host and its plugins, and print evidence and fixes."),
    )
    add_target(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """1 where a check of severity error fails."""
    if options.url:
        answer = remote(options).validate()
    elif has_worker():
        answer = worker().validate()
    else:
        answer = _in_process()
    text = "\n".join(printable(line) for line in str(answer.get("output", "")).splitlines())
    terminal.result(answer.get("report") or answer, text)
    return 0 if answer.get("success") else 1


def _in_process() -> dict[str, Any]:
    """After setup no worker runs; the checks need none."""
    from blockhost.pipeline.context import StepContext  # noqa: PLC0415  a client needs none of it
    from installer.finalize import run as runs  # noqa: PLC0415
    from installer.validation import report  # noqa: PLC0415

    view = runs.View.look(running=False)
    config = dict(view.header.config) if view.header else {}
    for record in view.records:
        config |= record.config
    return dict(report.in_child(StepContext(step_id="validate", config=config), {}))
