"""`python3 -m installer.console`: the card, on this terminal or on `--tty`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from installer.console import card
from installer.console.display import Display
from installer.console.facts import read_facts
from installer.console.svg import render_svg
from installer.console.terminal import Terminal, is_serial_name


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        if options.format == "json":
            print(json.dumps(read_facts().to_json(), indent=2, ensure_ascii=False))
        elif options.format == "svg":
            print(render_svg(read_facts()), end="")
        elif options.once or not (options.tty or sys.stdout.isatty()):
            print("\n".join(card.serial_lines(read_facts())))
        else:
            _show(options.tty, plain=options.plain)
    except KeyboardInterrupt:
        return 130
    except (BlockhostError, OSError) as error:
        print(f"console: {error}", file=sys.stderr)
        return 1
    return 0


def _show(tty: str | None, *, plain: bool) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if tty is None:
        terminal = Terminal(sys.stdin.fileno(), sys.stdout.fileno(), is_serial=plain)
    else:
        descriptor = os.open(tty, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        terminal = Terminal(descriptor, descriptor, is_serial=plain or is_serial_name(tty))
    try:
        Display(terminal, read_facts).loop()
    finally:
        if not terminal.is_serial:
            terminal.write("\x1b[?25h\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="installer.console", description=_("Show how to reach this host: address, fingerprint, code.")
    )
    parser.add_argument("--tty", metavar="DEVICE", help=_("show it there, such as /dev/tty1 or /dev/ttyS0"))
    parser.add_argument("--once", action="store_true", help=_("print it once and stop"))
    parser.add_argument("--plain", action="store_true", help=_("lines only, as on a serial line"))
    parser.add_argument(
        "--format", choices=("text", "json", "svg"), default="text", help=_("json and svg print once")
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
