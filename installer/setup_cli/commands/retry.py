"""`blockhost-setup retry [STEP]`: go on after a failure."""

from __future__ import annotations

import argparse
from typing import Any

from blockhost.i18n import gettext as _
from installer.setup_cli import watch
from installer.setup_cli.commands._target import add_target, chosen
from installer.setup_cli.output import Terminal


def add_to(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "retry",
        parents=[common],
        help=_("go on after a failure"),
        description=_("Go on with a failed or interrupted setup: what is done stays done."),
    )
    add_target(parser)
    parser.add_argument("step", nargs="?", metavar="STEP", help=_("default: the one that failed"))
    parser.add_argument("--wait", action="store_true", help=_("follow the run to its end"))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """With --wait 1 where it failed again."""
    setup = chosen(options)
    answer = setup.retry(options.step)
    if not options.wait:
        terminal.result(answer, _("going on"))
        return 0
    final = watch.follow(setup, terminal)
    terminal.result(final, watch.as_text(final))
    return 0 if final.get("status") == "completed" else 1
