"""`blockhost-vm-destroy NAME`: remove a virtual machine with all that belongs to it."""

from __future__ import annotations

from collections.abc import Sequence

from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt import power
from blockhost.provisioner_libvirt.cli.run import add_name, parser_for, run
from blockhost.vm_db import get_database

PROGRAM = "blockhost-vm-destroy"


def main(argv: Sequence[str] | None = None) -> int:
    """Remove a virtual machine with all that belongs to it; a missing one is fine."""
    parser = parser_for(PROGRAM, _("Remove a virtual machine with all that belongs to it."))
    add_name(parser)
    options = parser.parse_args(argv)
    return run(PROGRAM, lambda: power.destroy(options.name, get_database(create=False)))


if __name__ == "__main__":
    raise SystemExit(main())
