"""`blockhost-vm-destroy NAME`: remove a virtual machine with all that belongs to it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from blockhost.provisioner_libvirt import power
from blockhost.provisioner_libvirt.cli.run import run
from blockhost.vm_db import get_database

PROGRAM = "blockhost-vm-destroy"


def main(argv: Sequence[str] | None = None) -> int:
    """Remove a virtual machine with all that belongs to it; a missing one is fine."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Remove a virtual machine with all that belongs to it."
    )
    parser.add_argument("name")
    options = parser.parse_args(argv)
    return run(PROGRAM, lambda: power.destroy(options.name, get_database()))


if __name__ == "__main__":
    raise SystemExit(main())
