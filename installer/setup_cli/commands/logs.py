"""`blockhost-setup logs`: the steps' log lines, and with --all every event."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from typing import Any

from blockhost.i18n import gettext as _
from installer.setup_cli.commands._target import add_target, chosen
from installer.setup_cli.output import Terminal, clock, printable

#: What was said so far comes at once; a pause this long means that there is no more.
PAUSE_S = 1.0
FOLLOW_IDLE_S = 25.0


def add_to(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "logs",
        aliases=["events"],
        parents=[common],
        help=_("show what the steps say"),
        description=_("Show the log lines of the setup's steps; with --format json one event each line."),
    )
    add_target(parser)
    parser.add_argument("step", nargs="?", metavar="STEP", help=_("of this step only"))
    parser.add_argument("-f", "--follow", action="store_true", help=_("go on as lines come"))
    parser.add_argument("--all", action="store_true", help=_("progress and step changes, too"))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Ends at the first pause unless --follow was given."""
    setup = chosen(options)
    after = 0
    while True:
        for event in setup.events(after, idle_s=FOLLOW_IDLE_S if options.follow else PAUSE_S):
            if event is not None:
                after = max(after, int(event.get("id") or 0))
                _show(event, options, terminal)
            elif after and not options.follow:
                return 0
        if not options.follow:
            return 0
        time.sleep(PAUSE_S)  # the server ends long streams; whoever follows comes back


def _show(event: Mapping[str, Any], options: argparse.Namespace, terminal: Terminal) -> None:
    if options.step and event.get("step") != options.step:
        return
    if event.get("type") == "log" or options.all:
        terminal.line(_line(event) if terminal.is_text else json.dumps(event, ensure_ascii=False))


def _line(event: Mapping[str, Any]) -> str:
    rest = str(event.get("line") or event.get("message") or event.get("status") or "")
    step = printable(str(event.get("step") or event.get("type") or ""))
    return f"{clock(event.get('time'))} {step:<14} {printable(rest)}"
