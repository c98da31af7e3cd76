"""`blockhost-setup reset`: forget the run. What its steps did stays."""

from __future__ import annotations

import argparse
from typing import Any

from blockhost.i18n import gettext as _
from installer.setup_cli.commands._target import add_target, chosen
from installer.setup_cli.output import Terminal


def add_to(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "reset",
        parents=[common],
        help=_("forget the run"),
        description=_("Forget the run, so that the wizard begins anew. What its steps did stays."),
    )
    add_target(parser)
    parser.add_argument(
        "--force",
        action="store_true",
        help=_("also after a step that cannot be undone: it may be done again"),
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """1 where it is refused: running, or past an irreversible step."""
    terminal.result(chosen(options).reset(force=options.force), _("reset"))
    return 0
