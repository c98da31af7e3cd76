"""`blockhost-vm-stop NAME`: ask a virtual machine to shut down."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from blockhost.provisioner_libvirt import power
from blockhost.provisioner_libvirt.cli.run import run
from blockhost.vm_db import get_database

PROGRAM = "blockhost-vm-stop"


def main(argv: Sequence[str] | None = None) -> int:
    """Ask a virtual machine to shut down."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Ask a virtual machine to shut down.")
    parser.add_argument("name")
    options = parser.parse_args(argv)
    return run(PROGRAM, lambda: power.stop(options.name, get_database()))


if __name__ == "__main__":
    raise SystemExit(main())
