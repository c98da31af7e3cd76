"""`blockhost-otp`: make a new one-time code for the wizard, and print it. Root only."""

# ruff: noqa: T201  a command prints

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from blockhost import codes, command_line, paths
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from installer.console.card import duration, shown_code

PROGRAM = "blockhost-otp"


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(
        PROGRAM,
        _("Make a new one-time code for the setup wizard; the code before is void."),
        package="blockhost-installer",
    )
    command_line.add_format(parser)
    parser.add_argument("--length", type=int, default=codes.LENGTH, help=_("symbols (default: %(default)s)"))
    options = parser.parse_args(argv)
    return command_line.ended(PROGRAM, lambda: _renew(options))


def _renew(options: argparse.Namespace) -> None:
    if (paths.state_dir() / ".setup-complete").exists():
        raise BlockhostError(_("setup is complete; there is nothing to log in to"))
    code = codes.issue(length=options.length)
    if options.format == "json":
        print(json.dumps({"code": code.code, "seconds_left": code.seconds_left}))
    else:
        print(shown_code(code.code))
        print(_("valid for {time}, once").format(time=duration(code.seconds_left)), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
