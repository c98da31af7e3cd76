"""`blockhost-vm-kill NAME`: stop a virtual machine at once."""

from __future__ import annotations

from collections.abc import Sequence

from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt import power
from blockhost.provisioner_libvirt.cli.run import add_name, parser_for, run
from blockhost.vm_db import get_database

PROGRAM = "blockhost-vm-kill"


def main(argv: Sequence[str] | None = None) -> int:
    """Stop a virtual machine at once."""
    parser = parser_for(PROGRAM, _("Stop a virtual machine at once."))
    add_name(parser)
    options = parser.parse_args(argv)
    return run(PROGRAM, lambda: power.kill(options.name, get_database(create=False)))


if __name__ == "__main__":
    raise SystemExit(main())
