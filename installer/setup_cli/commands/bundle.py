"""`blockhost-setup bundle`: everything a helper asks for, in one redacted archive.

Works without wizard, worker and plugins: it only reads. What cannot be read is listed in the
bundle itself, so that a gap is not mistaken for silence.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from blockhost.i18n import gettext as _
from installer.setup_cli import support
from installer.setup_cli.output import Terminal


def add_to(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "bundle",
        parents=[common],
        help=_("collect logs and records for a bug report"),
        description=_("Write records, logs, versions and unit states into one archive, without secrets."),
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help=_("default: blockhost-support-TIME.tar.gz here")
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """The archive has mode 0600; its path is the result."""
    output = options.output or Path(f"blockhost-support-{time.strftime('%Y%m%d-%H%M%S')}.tar.gz")
    members = support.collect()
    support.write(output, members)
    missing = members[support.GAPS].decode().splitlines()
    for line in missing:
        terminal.note(_("left out: %s") % line)
    terminal.result({"file": str(output), "members": sorted(members), "left_out": missing}, str(output))
    return 0
