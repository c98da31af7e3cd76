"""`blockhost-provisioner-detect`: exit 0 when this host can run machines by libvirt."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from blockhost.command import find
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt import kvm
from blockhost.provisioner_libvirt.cli.run import parser_for, run

PROGRAM = "blockhost-provisioner-detect"
NEEDED = ("virsh", "qemu-system-x86_64", "qemu-img")


def main(argv: Sequence[str] | None = None) -> int:
    """Emulation counts as present: machines run, slowly, and a warning says so."""
    parser_for(PROGRAM, _("Exit 0 when this host can run machines by libvirt.")).parse_args(argv)
    return run(PROGRAM, _detect)


def _detect() -> None:
    missing = [program for program in NEEDED if find(program) is None]
    if missing:
        raise BlockhostError(_("not installed: %(names)s") % {"names": ", ".join(missing)})
    state = kvm.probe()
    if not state.usable:
        print(
            _("%(program)s: warning: machines will be emulated and slow: %(reason)s")
            % {"program": PROGRAM, "reason": state.reason},
            file=sys.stderr,
        )


if __name__ == "__main__":
    raise SystemExit(main())
