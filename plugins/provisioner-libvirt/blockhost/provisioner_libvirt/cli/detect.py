"""`blockhost-provisioner-detect`: exit 0 when this host can run machines by libvirt."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from blockhost.command import find
from blockhost.provisioner_libvirt import kvm

PROGRAM = "blockhost-provisioner-detect"
NEEDED = ("virsh", "qemu-system-x86_64", "qemu-img")


def main(argv: Sequence[str] | None = None) -> int:
    """Emulation counts as present: machines run, slowly, and a warning says so."""
    argparse.ArgumentParser(
        prog=PROGRAM, description="Exit 0 when this host can run machines by libvirt."
    ).parse_args(argv)
    missing = [program for program in NEEDED if find(program) is None]
    if missing:
        print(f"{PROGRAM}: not installed: {', '.join(missing)}", file=sys.stderr)
        return 1
    state = kvm.probe()
    if not state.usable:
        print(f"{PROGRAM}: warning: machines will be emulated and slow: {state.reason}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
