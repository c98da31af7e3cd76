"""`blockhost-vm-status NAME`: one of active, suspended, destroyed, unknown."""

from __future__ import annotations

from collections.abc import Sequence

from blockhost import command_line
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt import power
from blockhost.provisioner_libvirt.cli.run import add_name, parser_for, run
from blockhost.vm_db import get_database

PROGRAM = "blockhost-vm-status"


def main(argv: Sequence[str] | None = None) -> int:
    """Always exits 0: what cannot be found out is `unknown`, and stderr says why."""
    parser = parser_for(PROGRAM, _("One of active, suspended, destroyed, unknown."))
    add_name(parser)
    options = parser.parse_args(argv)
    return run(PROGRAM, lambda: _tell(options.name))


def _tell(name: str) -> None:
    try:
        found = power.status(name, get_database(create=False))
    except (BlockhostError, OSError) as error:
        found = "unknown"
        command_line.complain_of(PROGRAM, error)
    print(found)


if __name__ == "__main__":
    raise SystemExit(main())
