"""What all commands of this engine share: how they read their line, fail, and print.

Exit codes: 0 success, 1 refused or failed (one line on stderr, a hint on the next), 2 wrong usage,
130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from blockhost import command_line
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _

Action = Callable[[argparse.Namespace], int]

#: The longest text taken from a file or standard input.
MAX_INPUT = 1024 * 1024


def parser(name: str, purpose: str, *, epilog: str = "") -> argparse.ArgumentParser:
    """A parser with the options that every command has."""
    made = command_line.parser(name, purpose, epilog=epilog, package="blockhost-engine-local")
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    return made


def run(made: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Parse, act, and turn every intentional error into one line and exit code 1."""
    try:
        arguments = made.parse_args(argv)
        action: Action | None = getattr(arguments, "action", None)
        if action is None:
            made.print_help(sys.stderr)
            return command_line.USAGE
        return command_line.ended(made.prog, lambda: action(arguments))
    except SystemExit as stop:  # argparse: --help, --version, wrong usage
        return stop.code if isinstance(stop.code, int) else 0


def no_coins(name: str) -> Action:
    """A verb of the engine contract that moves money."""

    def refuse(_arguments: argparse.Namespace) -> int:
        return command_line.complain(
            name,
            _("this host runs without a chain: the local engine has no coins"),
            _("Plans and grants are kept with `blockhost-local`."),
        )

    return refuse


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns wide enough for what is in them; foreign text cannot move the cursor."""
    cells = [list(heads), *([_clean(str(cell)) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]
    for line in cells:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(padded).rstrip())


def read_input(path: str) -> str:
    """The text in a file; `-` is standard input. One line end at its end does not count.

    Raises:
        BlockhostError: it is missing, too long, or not text.
    """
    try:
        data = _read_bytes(path)
    except OSError as error:
        raise BlockhostError(f"{path}: {error.strerror}") from error
    if len(data) > MAX_INPUT:
        raise BlockhostError(_("%(path)s: longer than %(most)d bytes") % {"path": path, "most": MAX_INPUT})
    try:
        return data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise BlockhostError(_("%(path)s: not UTF-8 text") % {"path": path}) from None


def _read_bytes(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read(MAX_INPUT + 1)
    with Path(path).open("rb") as file:
        return file.read(MAX_INPUT + 1)


def _clean(text: str) -> str:
    return "".join(letter if letter.isprintable() else "·" for letter in text)
