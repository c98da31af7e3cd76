"""`blockhost-vm-update-gecos NAME WALLET --nft-id N`: write a machine's owner into the guest."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt import power
from blockhost.provisioner_libvirt.cli.run import add_name, parser_for, run
from blockhost.provisioner_libvirt.ssh_keys import parse_keys
from blockhost.vm_db import get_database

PROGRAM = "blockhost-vm-update-gecos"


def main(argv: Sequence[str] | None = None) -> int:
    """The user's GECOS field becomes `wallet=WALLET,nft=N`; its keys change with `--ssh-keys` only."""
    parser = parser_for(PROGRAM, _("Write a machine's owner into the guest."))
    add_name(parser)
    parser.add_argument("wallet", help=_("address or fingerprint of the owner"))
    parser.add_argument("--nft-id", type=int, required=True, metavar="N", help=_("the owner's credential"))
    parser.add_argument(
        "--ssh-keys",
        metavar="FILE",
        help=_("public keys that log in from then on, and no others (- is stdin)"),
    )
    options = parser.parse_args(argv)
    return run(PROGRAM, lambda: _update(options))


def _update(options: argparse.Namespace) -> None:
    keys = None if options.ssh_keys is None else parse_keys(_text(options.ssh_keys), options.ssh_keys)
    user = power.change_owner(options.name, options.wallet, options.nft_id, keys, get_database(create=False))
    print(
        _("%(name)s: %(user)s belongs to %(wallet)s")
        % {"name": options.name, "user": user, "wallet": options.wallet}
    )


def _text(file: str) -> str:
    return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
