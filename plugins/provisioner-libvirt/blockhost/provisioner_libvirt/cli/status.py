"""`blockhost-vm-status NAME`: one of active, suspended, destroyed, unknown."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from blockhost.errors import BlockhostError
from blockhost.provisioner_libvirt import power
from blockhost.vm_db import get_database

PROGRAM = "blockhost-vm-status"


def main(argv: Sequence[str] | None = None) -> int:
    """Always exits 0: what cannot be found out is `unknown`, and stderr says why."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="One of active, suspended, destroyed, unknown."
    )
    parser.add_argument("name")
    options = parser.parse_args(argv)
    try:
        print(power.status(options.name, get_database()))
    except (BlockhostError, OSError) as error:
        print("unknown")
        print(f"{PROGRAM}: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
