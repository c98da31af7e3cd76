"""`blockhost-setup schema`: the JSON Schema of answers files, for editors and other programs."""

from __future__ import annotations

import argparse
from typing import Any

from blockhost.i18n import gettext as _
from installer.answers.schema import document_schema
from installer.setup_cli.output import Terminal
from installer.setup_cli.plugins import find_plugins


def add_to(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "schema",
        parents=[common],
        help=_("print the JSON Schema of answers files"),
        description=_("Print the JSON Schema (draft 2020-12) of answers files for the plugins at hand."),
    )
    parser.set_defaults(run=run)


def run(_options: argparse.Namespace, terminal: Terminal) -> int:
    """Always JSON unless YAML was asked for."""
    if terminal.is_text:
        terminal.format = "json"
    terminal.result(document_schema(find_plugins()), "")
    return 0
