"""`blockhost-vm-resume NAME [--extend-days N]`: wake a suspended virtual machine."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt import expiry, power
from blockhost.provisioner_libvirt.cli.run import add_name, parser_for, run
from blockhost.vm_db import get_database

PROGRAM = "blockhost-vm-resume"


def main(argv: Sequence[str] | None = None) -> int:
    """Prints when the machine expires now."""
    parser = parser_for(PROGRAM, _("Wake a suspended virtual machine; a running one is fine."))
    add_name(parser)
    parser.add_argument(
        "--extend-days", type=int, default=0, metavar="N", help=_("let it live N days longer")
    )
    parser.add_argument("--dry-run", action="store_true", help=_("only check"))
    parser.add_argument("--mock", action="store_true", help=_("touch neither libvirt nor the database"))
    options = parser.parse_args(argv)
    return run(PROGRAM, lambda: _resume(options))


def _resume(options: argparse.Namespace) -> None:
    if not 0 <= options.extend_days <= 36500:
        raise BlockhostError(
            _("--extend-days: expected 0 to 36500, got %(extend_days)s")
            % {"extend_days": options.extend_days}
        )
    if options.mock:
        print(_("%(name)s: would be resumed") % {"name": power.checked_name(options.name)})
        return
    database = get_database(create=False)
    if options.dry_run:
        record = expiry.require_resumable(options.name, database, extend_days=options.extend_days)
        print(
            _("%(name)s: %(status)s, expires %(expires_at)s; would be resumed")
            % {"name": options.name, "status": record["status"], "expires_at": record["expires_at"]}
        )
        return
    record = expiry.resume(options.name, database, extend_days=options.extend_days)
    print(
        _("%(name)s: %(status)s, expires %(expires_at)s")
        % {"name": options.name, "status": record["status"], "expires_at": record["expires_at"]}
    )


if __name__ == "__main__":
    raise SystemExit(main())
