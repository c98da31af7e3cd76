"""`blockhost-setup validate FILE…`: every fault of each file, before anything depends on it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from blockhost.i18n import gettext as _
from blockhost.i18n import ngettext
from installer.answers import check_answers
from installer.setup_cli.output import Terminal
from installer.setup_cli.plugins import find_plugins


def add_to(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "validate",
        parents=[common],
        help=_("check answers files"),
        description=_("Check answers files: all faults of all files, with file and line."),
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help=_("answers file"))
    parser.add_argument("--strict", action="store_true", help=_("let warnings fail, too"))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """0 when no file has a fault."""
    faults = 0
    results = []
    for path in options.files:
        checked = check_answers(path, find_plugins(path))
        terminal.problems(checked.problems)
        terminal.problems(checked.warnings, warning=True)
        failed = len(checked.problems) + (len(checked.warnings) if options.strict else 0)
        faults += failed
        results.append(
            {
                "file": str(path),
                "valid": not failed,
                "problems": [problem.to_json() for problem in checked.problems],
                "warnings": [warning.to_json() for warning in checked.warnings],
            }
        )
    valid = sum(1 for result in results if result["valid"])
    text = _("%(valid)d of %(files)d valid") % {"valid": valid, "files": len(results)}
    if faults:
        text += ", " + ngettext("%d fault", "%d faults", faults) % faults
    terminal.result({"valid": not faults, "files": results}, text)
    return 1 if faults else 0
