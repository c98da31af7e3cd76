"""`blockhost-build-template`: bring the image that the ISO carried into the storage pool."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from blockhost.provisioner_libvirt.cli.run import run
from blockhost.provisioner_libvirt.template import import_template

PROGRAM = "blockhost-build-template"


def main(argv: Sequence[str] | None = None) -> int:
    """Needs root. Machines that run from an earlier image keep it."""
    argparse.ArgumentParser(
        prog=PROGRAM, description="Bring the image that the ISO carried into the storage pool."
    ).parse_args(argv)
    return run(PROGRAM, lambda: print(import_template()))


if __name__ == "__main__":
    raise SystemExit(main())
