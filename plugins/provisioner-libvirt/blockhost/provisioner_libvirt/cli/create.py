"""`blockhost-vm-create NAME --owner-wallet ADDRESS …`: make and start a virtual machine."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt.cli.run import add_name, parser_for, run
from blockhost.provisioner_libvirt.create import Wish, answer, create, rehearse
from blockhost.provisioner_libvirt.ssh_keys import parse_keys
from blockhost.vm_db import get_database

PROGRAM = "blockhost-vm-create"


def main(argv: Sequence[str] | None = None) -> int:
    """Prints one JSON object; without `--apply` it only checks."""
    options = _parser().parse_args(argv)
    return run(PROGRAM, lambda: _create(options))


def _create(options: argparse.Namespace) -> None:
    content, keys = options.cloud_init_content, options.ssh_keys
    if content is not None and keys is not None:
        raise BlockhostError(_("--ssh-keys is for the usual cloud-init content; yours has its own"))
    wish = Wish(
        name=options.name,
        owner_wallet=options.owner_wallet,
        nft_token_id=options.nft_token_id,
        expiry_days=options.expiry_days,
        cpu=options.cpu,
        memory_mb=options.memory,
        disk_gb=options.disk,
        user_data=None if content is None else content.read_text(encoding="utf-8"),
        ssh_keys=() if keys is None else tuple(parse_keys(keys.read_text(encoding="utf-8"), str(keys))),
        wait_s=options.wait,
    )
    if not options.apply:
        if not options.mock:
            rehearse(wish)
        _print(answer(wish, None, status="dry-run"))
    elif options.mock:
        _print(_pretend(wish))
    else:
        create(wish, _print)


def _print(told: dict[str, Any]) -> None:
    print(json.dumps(told), flush=True)


def _pretend(wish: Wish) -> dict[str, Any]:
    """`--mock`: a machine in a database that ends with this process."""
    return answer(wish, get_database(use_mock=True).reserve_vm(wish.name, owner=wish.owner_wallet))


def _parser() -> argparse.ArgumentParser:
    parser = parser_for(PROGRAM, _("Make and start a virtual machine."))
    add_name(parser)
    parser.add_argument("--owner-wallet", required=True, metavar="ADDRESS", help=_("who owns it"))
    parser.add_argument("--nft-token-id", type=int, metavar="N", help=_("the credential that opens it"))
    parser.add_argument(
        "--expiry-days", type=int, default=30, metavar="N", help=_("days until it expires (30)")
    )
    parser.add_argument("--cpu", type=int, default=1, metavar="N", help=_("processors (1)"))
    parser.add_argument("--memory", type=int, default=2048, metavar="MB", help=_("memory (2048)"))
    parser.add_argument("--disk", type=int, default=20, metavar="GB", help=_("disk (20)"))
    parser.add_argument("--apply", action="store_true", help=_("really do it"))
    parser.add_argument(
        "--cloud-init-content", type=Path, metavar="PATH", help=_("user data to use as it is")
    )
    parser.add_argument("--ssh-keys", type=Path, metavar="FILE", help=_("public keys that log in"))
    parser.add_argument(
        "--wait",
        type=float,
        metavar="SECONDS",
        help=_("how long the guest may take to answer; 0 does not wait"),
    )
    parser.add_argument("--mock", action="store_true", help=_("touch neither libvirt nor the database"))
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
