"""`blockhost-vm-metrics NAME`: what a virtual machine uses."""

from __future__ import annotations

import json
from collections.abc import Sequence

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt import power
from blockhost.provisioner_libvirt.cli.run import add_name, parser_for, run
from blockhost.vm_db import get_database

PROGRAM = "blockhost-vm-metrics"


def main(argv: Sequence[str] | None = None) -> int:
    """Prints one JSON object; -1 where only a guest that is silent could tell. Waits for no guest."""
    parser = parser_for(PROGRAM, _("What a virtual machine uses, as JSON."))
    add_name(parser)
    options = parser.parse_args(argv)
    return run(PROGRAM, lambda: _show(options.name))


def _show(name: str) -> None:
    power.require_machine(name, get_database(create=False))
    found = power.metrics([name])
    if name not in found:
        raise BlockhostError(_("libvirt does not know %(name)s") % {"name": name})
    print(json.dumps(found[name]))


if __name__ == "__main__":
    raise SystemExit(main())
