"""`blockhost-setup worker`: the setup worker itself, as its unit runs it."""

from __future__ import annotations

import argparse
from typing import Any

from blockhost.i18n import gettext as _
from installer.setup_cli.output import Terminal


def add_to(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "worker",
        parents=[common],
        help=_("run the setup worker (for its unit)"),
        description=_("Run the setup worker in the foreground until SIGTERM."),
    )
    parser.set_defaults(run=run)


def run(_options: argparse.Namespace, _terminal: Terminal) -> int:
    """Ends with the process."""
    from installer.finalize import worker  # noqa: PLC0415  a client needs none of it

    return worker.main([])
