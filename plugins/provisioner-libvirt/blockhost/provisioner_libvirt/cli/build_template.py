"""`blockhost-build-template [--rebuild]`: the image that virtual machines start from."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt.cli.run import parser_for, run
from blockhost.provisioner_libvirt.template import import_template, rebuild_template

PROGRAM = "blockhost-build-template"


def main(argv: Sequence[str] | None = None) -> int:
    """Needs root. Progress goes to stderr. Machines that run from an earlier image keep it."""
    parser = parser_for(
        PROGRAM,
        _("Bring the image that the ISO carried into the storage pool, or rebuild it first."),
    )
    parser.add_argument(
        "--rebuild", action="store_true", help=_("upgrade its packages from Debian's archive")
    )
    options = parser.parse_args(argv)
    return run(
        PROGRAM, lambda: print(rebuild_template(_tell, _say) if options.rebuild else import_template(_tell))
    )


def _tell(fraction: float, message: str) -> None:
    print(f"[{fraction:4.0%}] {message}", file=sys.stderr, flush=True)


def _say(line: str) -> None:
    print(f"       {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
