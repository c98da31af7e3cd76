"""`blockhost-vm-throttle NAME …`: limit what a virtual machine uses of processors, disk and network."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt import power
from blockhost.provisioner_libvirt.cli.run import add_name, parser_for, run
from blockhost.vm_db import get_database

PROGRAM = "blockhost-vm-throttle"
#: Option of ours, parameter of the agent's action, unit.
LIMITS = (
    ("cpu-shares", "cpu_shares", ""),
    ("cpu-quota", "cpu_quota", " %"),
    ("bandwidth-in", "kbps_in", " kbps"),
    ("bandwidth-out", "kbps_out", " kbps"),
    ("iops-read", "iops_read", ""),
    ("iops-write", "iops_write", ""),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints one line per change. Limits hold at once and until they are changed, over restarts too."""
    options = _parser().parse_args(argv)
    return run(PROGRAM, lambda: _throttle(options))


def _throttle(options: argparse.Namespace) -> None:
    given = {action: getattr(options, option.replace("-", "_")) for option, action, _unit in LIMITS}
    wanted = {action: value for action, value in given.items() if value is not None}
    if options.reset:
        wanted = dict.fromkeys(given, 0) | wanted
    if not wanted:
        raise BlockhostError(_("no limit was given"), hint=f"{PROGRAM} --help")
    power.limit(options.name, get_database(create=False), wanted)
    for option, action, unit in LIMITS:
        if action in wanted:
            value = wanted[action]
            print(f"{option}: {f'{value}{unit}' if value else _('no limit')}")


def _parser() -> argparse.ArgumentParser:
    parser = parser_for(PROGRAM, _("Limit what a virtual machine uses; 0 takes a limit away."))
    add_name(parser)
    parser.add_argument(
        "--cpu-shares", type=int, metavar="N", help=_("weight of its processors against other machines'")
    )
    parser.add_argument("--cpu-quota", type=int, metavar="PERCENT", help=_("of all its processors"))
    parser.add_argument("--bandwidth-in", type=int, metavar="KBPS", help=_("towards the machine"))
    parser.add_argument("--bandwidth-out", type=int, metavar="KBPS", help=_("from the machine"))
    parser.add_argument("--iops-read", type=int, metavar="N", help=_("disk reads a second"))
    parser.add_argument("--iops-write", type=int, metavar="N", help=_("disk writes a second"))
    parser.add_argument("--reset", action="store_true", help=_("take away all limits that are not given"))
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
