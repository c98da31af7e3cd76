"""`blockhost-vm-start NAME`: start a virtual machine; a running one is fine."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from blockhost.provisioner_libvirt import power
from blockhost.provisioner_libvirt.cli.run import run
from blockhost.vm_db import get_database

PROGRAM = "blockhost-vm-start"


def main(argv: Sequence[str] | None = None) -> int:
    """Start a virtual machine; a running one is fine."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Start a virtual machine; a running one is fine."
    )
    parser.add_argument("name")
    options = parser.parse_args(argv)
    return run(PROGRAM, lambda: power.start(options.name, get_database()))


if __name__ == "__main__":
    raise SystemExit(main())
