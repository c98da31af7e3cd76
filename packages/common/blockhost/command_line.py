"""What all our commands have in common: the options that each has, and how each ends.

    def main(argv=None) -> int:
        options = parser("blockhost-thing", "Do the thing.").parse_args(argv)
        return ended("blockhost-thing", lambda: do(options))

Exit codes: 0 success, 1 refused or failed (a line on stderr, what to try on the next), 2 wrong
usage, 130 interrupted. stdout carries the result; a reader that has seen enough is no error.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from blockhost import command, paths
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


class Parser(argparse.ArgumentParser):
    """Options are written out: `--exec` is not `--execute`, today or when there are more of them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})
        self.register("action", "parsers", _Commands)


def parser(name: str, purpose: str, *, package: str = "blockhost-common", epilog: str = "") -> Parser:
    """A parser with what every command has; `package` is the one that brings it."""
    made = Parser(prog=name, description=purpose, epilog=epilog)
    made.add_argument("--version", action=_Version, package=package, help=_("show the version and exit"))
    return made


def add_format(made: argparse.ArgumentParser, *, default: str = "text", other: str = "json") -> None:
    """`--format`: for people, or for programs."""
    choices = (default, other)
    made.add_argument("--format", choices=choices, default=default, help=_("default: %(default)s"))


def ended(name: str, work: Callable[[], int | None]) -> int:
    """Do the work of a command; its exit code. Expected errors are told, never shown as a traceback."""
    undo_on_interrupt()
    try:
        code = work() or OK
        sys.stdout.flush()
        return code
    except BlockhostError as error:
        return complain_of(name, error)
    except BrokenPipeError:
        return FAILED  # whoever read along has seen enough (`| head`)
    except OSError as error:
        return complain_of(name, error)
    except UnicodeDecodeError as error:
        return complain(name, _("the input is not UTF-8 text: %(reason)s") % {"reason": error.reason})
    except KeyboardInterrupt:
        return complain(name, _("interrupted"), code=INTERRUPTED)
    finally:
        let_go_of_stdout()


def undo_on_interrupt() -> None:
    """Have Ctrl-C raise from here on. Until then it just ends the program, as the launcher has it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def complain(name: str, message: str, hint: str = "", *, code: int = FAILED) -> int:
    """Say what went wrong and what to try; returns the exit code."""
    print(f"{name}: {message}", file=sys.stderr)
    if hint:
        print(f"  {hint}", file=sys.stderr)
    return code


def complain_of(name: str, error: BlockhostError | OSError, *, code: int = FAILED) -> int:
    """`complain` with an error's own words."""
    if isinstance(error, BlockhostError):
        return complain(name, str(error), error.hint, code=code)
    place = f"{error.filename}: " if error.filename else ""
    return complain(name, f"{place}{error.strerror or error}", _remedy(error), code=code)


def installed_version(package: str) -> str:
    """Of an installed package; a source tree has none."""
    try:
        done = command.probe(["dpkg-query", "-W", "-f=${Version}", package], timeout=10)
    except BlockhostError:
        return "(source)"
    return done.stdout if done.code == 0 and done.stdout else "(source)"


def _remedy(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return _("Run it as root or as the user blockhost.")
    ours = (str(paths.config_dir()), str(paths.state_dir()))
    if isinstance(error, FileNotFoundError) and str(error.filename).startswith(ours):
        return _("Has the setup been completed, and is the volume mounted?")
    return ""


class _Commands(argparse._SubParsersAction):  # type: ignore[type-arg]  # not at run time
    """Subcommands: the line that explains one in the list is also the first of its own help."""

    def add_parser(self, name: str, **settings: Any) -> Any:
        if purpose := settings.get("help"):
            settings.setdefault("description", f"{purpose[0].upper()}{purpose[1:]}.")
        return super().add_parser(name, **settings)


class _Version(argparse.Action):
    """`--version`, found out only when it is asked for."""

    def __init__(self, *, package: str, **settings: Any) -> None:
        super().__init__(**{**settings, "nargs": 0, "dest": argparse.SUPPRESS})
        self._package = package

    def __call__(self, parser: argparse.ArgumentParser, *_args: object, **_kwargs: object) -> None:
        print(f"{parser.prog} (BlockHost) {installed_version(self._package)}")
        parser.exit()


def let_go_of_stdout() -> None:
    """Call it last: what could not be written would be complained about once more when Python ends."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
