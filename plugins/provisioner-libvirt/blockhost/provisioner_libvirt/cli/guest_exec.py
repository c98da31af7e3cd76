"""`blockhost-vm-guest-exec NAME COMMAND…`: run a program in a virtual machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from blockhost import command_line
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt.cli.run import add_name, parser_for, run
from blockhost.provisioner_libvirt.guest_exec import run_in_guest
from blockhost.vm_db import get_database

PROGRAM = "blockhost-vm-guest-exec"
#: As ssh(1): the command itself was not run, or its end is not known.
NOT_RUN = 255


def main(argv: Sequence[str] | None = None) -> int:
    """Exits with the command's code; 255 when it could not be run."""
    parser = parser_for(
        PROGRAM,
        _("Run a program as root in a virtual machine, by its guest agent."),
        epilog=_("One word is a line for the guest's shell. Exit code 255: it could not be run."),
    )
    parser.add_argument(
        "--timeout", type=float, default=0, metavar="SECONDS", help=_("give up waiting after (never)")
    )
    add_name(parser)
    parser.add_argument("command", nargs=argparse.REMAINDER, help=_("program and arguments"))
    options = parser.parse_args(argv)
    if options.command[:1] == ["--"]:  # as ssh(1) and others have it
        del options.command[0]
    if not options.command:
        parser.error(_("no command"))
    return run(PROGRAM, lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    try:
        ran = run_in_guest(
            options.name, options.command, get_database(create=False), timeout_s=options.timeout
        )
    except (BlockhostError, OSError) as error:
        return command_line.complain_of(PROGRAM, error, code=NOT_RUN)
    for stream, output in ((sys.stdout, ran.stdout), (sys.stderr, ran.stderr)):
        stream.buffer.write(output)
        stream.flush()
    if ran.is_cut:
        print(_("%(program)s: the output was longer, and was cut") % {"program": PROGRAM}, file=sys.stderr)
    return ran.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
