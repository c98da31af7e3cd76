"""What all commands share: expected errors become one line on stderr and exit code 1."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from blockhost.errors import BlockhostError


class Interrupted(BaseException):
    """A signal asked us to end; undo, then go."""


def run(program: str, work: Callable[[], int | None]) -> int:
    """Run a command's work with SIGTERM, SIGHUP and SIGINT as exceptions, so that undo happens."""
    logging.basicConfig(level=logging.WARNING, format=f"{program}: %(message)s", stream=sys.stderr)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _interrupt)
    try:
        return work() or 0
    except BlockhostError as error:
        print(f"{program}: {error}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        return 1
    except (OSError, UnicodeDecodeError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    except Interrupted as interruption:
        print(f"{program}: interrupted", file=sys.stderr)
        return 128 + int(interruption.args[0])


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)  # a second one must not break the undo
    raise Interrupted(number)
