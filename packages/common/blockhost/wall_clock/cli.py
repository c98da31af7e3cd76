"""`blockhost-clock`: may this host's clock end anything, and the operator's word that it may."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from blockhost import command_line, wall_clock
from blockhost.i18n import gettext as _

PROGRAM = "blockhost-clock"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code of `show`: 1 when the clock is in doubt."""
    options = _parser().parse_args(argv)
    return command_line.ended(PROGRAM, lambda: options.run(options))


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(
        PROGRAM, _("Whether machines may be put to sleep and destroyed by the clock.")
    )
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    show = verbs.add_parser("show", help=_("what the clock says, and whether it is relied on"))
    show.set_defaults(run=_show)
    trust = verbs.add_parser("trust", help=_("the clock is right now: go on by it"))
    trust.set_defaults(run=_trust)
    return parser


def _show(_options: argparse.Namespace) -> int:
    reading = wall_clock.read()
    server = _("synchronised") if wall_clock.is_synchronised() else _("not synchronised")
    for label, value in (
        (_("clock"), wall_clock.as_text(wall_clock.raw())),
        (_("time server"), server),
        (_("relied on"), _("no") if reading.doubt else _("yes")),
    ):
        print(f"{label + ':':<13} {value}")
    if not reading.doubt:
        return command_line.OK
    return command_line.complain(PROGRAM, reading.doubt, reading.hint)


def _trust(_options: argparse.Namespace) -> None:
    print(wall_clock.as_text(wall_clock.trust()))
