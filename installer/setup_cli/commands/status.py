"""`blockhost-setup status`: how far the setup is, here or on another machine."""

from __future__ import annotations

import argparse
from typing import Any

from blockhost.i18n import gettext as _
from installer.setup_cli import watch
from installer.setup_cli.commands._target import add_target, chosen
from installer.setup_cli.output import Terminal


def add_to(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "status",
        parents=[common],
        help=_("show how far the setup is"),
        description=_("Show how far the setup is. Exit code 0 unless it has failed."),
    )
    add_target(parser)
    parser.add_argument("--wait", action="store_true", help=_("follow the run to its end"))
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help=_("with --wait, at most this long"))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """1 where the run failed, 3 where --timeout passed first."""
    setup = chosen(options)
    if options.wait:
        try:
            status = watch.follow(setup, terminal, timeout_s=options.timeout)
        except watch.TimeIsUp as error:
            terminal.error(error)
            return 3
    else:
        status = setup.status()
    terminal.result(status, watch.as_text(status))
    return 1 if status.get("status") == "failed" else 0
