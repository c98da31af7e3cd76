"""`blockhost-otp`: make a new one-time code for the wizard, and print it. Root only."""

# ruff: noqa: T201  a command prints

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from blockhost import codes, paths
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from installer.console.card import duration, shown_code


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="blockhost-otp",
        description="Make a new one-time code for the setup wizard; the code before is void.",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--length", type=int, default=codes.LENGTH, help="symbols (default: %(default)s)")
    options = parser.parse_args(argv)
    if (paths.state_dir() / ".setup-complete").exists():
        print(_("blockhost-otp: setup is complete; there is nothing to log in to"), file=sys.stderr)
        return 1
    try:
        code = codes.issue(length=options.length)
    except (BlockhostError, OSError) as error:
        print(f"blockhost-otp: {error}", file=sys.stderr)
        return 1
    if options.format == "json":
        print(json.dumps({"code": code.code, "seconds_left": code.seconds_left}))
    else:
        print(shown_code(code.code))
        print(_("valid for {time}, once").format(time=duration(code.seconds_left)), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
