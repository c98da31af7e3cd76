"""`blockhost-vm-list [--format json]`: the machines of this host."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from blockhost.provisioner_libvirt import power
from blockhost.provisioner_libvirt.cli.run import run
from blockhost.vm_db import get_database

PROGRAM = "blockhost-vm-list"


def main(argv: Sequence[str] | None = None) -> int:
    """Prints NAME STATUS IP CREATED, separated by tabs, or JSON."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="The machines of this host.")
    parser.add_argument("--format", choices=("tsv", "json"), default="tsv")
    options = parser.parse_args(argv)
    return run(PROGRAM, lambda: _show(options.format))


def _show(form: str) -> None:
    rows = power.listing(get_database())
    if form == "json":
        print(json.dumps(rows))
        return
    print("NAME\tSTATUS\tIP\tCREATED")
    for row in rows:
        print("\t".join(str(row[key] or "-") for key in ("name", "status", "ip", "created")))


if __name__ == "__main__":
    raise SystemExit(main())
