"""What the commands of this package share: their parser, and an end that undoes what was begun."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from blockhost import command_line
from blockhost.i18n import gettext as _

_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Interrupted(BaseException):
    """A signal asked us to end; undo, then go."""


def parser_for(name: str, purpose: str, *, epilog: str = "") -> command_line.Parser:
    """A parser with what every command has."""
    return command_line.parser(name, purpose, epilog=epilog, package="blockhost-provisioner-libvirt")


def add_name(parser: argparse.ArgumentParser) -> None:
    """The machine's name, the first word of most commands."""
    parser.add_argument("name", help=_("name of the machine: a-z 0-9 -"))


def run(program: str, work: Callable[[], int | None]) -> int:
    """Do a command's work with SIGTERM, SIGHUP and SIGINT as exceptions, so that undo happens."""
    logging.basicConfig(level=logging.WARNING, format=f"{program}: %(message)s", stream=sys.stderr)
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup(1) wants it
            signal.signal(number, _interrupt)
    try:
        return command_line.ended(program, work)
    except Interrupted as interruption:
        return command_line.complain(program, _("interrupted"), code=128 + int(interruption.args[0]))


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # a second one must not break the undo
    raise Interrupted(number)
