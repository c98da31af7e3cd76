"""`blockhost-mint-nft`: a new credential for an SSH key; prints its number."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from blockhost.engine_local import identity
from blockhost.engine_local.cli import arguments, program
from blockhost.engine_local.identity import PublicKey
from blockhost.engine_local.ledger import credentials, open_ledger
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _


def main(argv: Sequence[str] | None = None) -> int:
    made = program.parser(
        "blockhost-mint-nft",
        _("Give an SSH key a credential, and print the credential's number (from 0, never used twice)."),
    )
    made.add_argument(
        "--owner-wallet",
        required=True,
        type=arguments.address,
        metavar="SHA256:…",
        help=_("fingerprint of the owner's key"),
    )
    made.add_argument(
        "--user-encrypted",
        type=arguments.hexadecimal,
        default="0x",
        metavar="0x…",
        help=_("a text for the owner that is kept with it"),
    )
    made.add_argument("--public-key", metavar="FILE", help=_("the owner's public key, to be kept with it"))
    made.add_argument(
        "--once",
        type=arguments.occasion,
        metavar="OCCASION",
        help=_("mint at most once for this occasion; again, it prints the number from the first time"),
    )
    made.add_argument("--dry-run", action="store_true", help=_("check everything, mint nothing"))
    made.set_defaults(action=_mint)
    return program.run(made, argv)


def _mint(words: argparse.Namespace) -> int:
    key = _key(words)
    with open_ledger() as book:
        if words.dry_run:
            print(_("dry run: nothing is minted"))
            return 0
        print(
            credentials.mint(
                book, words.owner_wallet, key=key, user_encrypted=words.user_encrypted, once=words.once
            )
        )
    return 0


def _key(words: argparse.Namespace) -> PublicKey | None:
    if words.public_key is None:
        return None
    key = identity.load_public_key(words.public_key)
    if key.fingerprint != words.owner_wallet:
        raise BlockhostError(
            _("%(file)s holds the key %(found)s, not %(owner)s")
            % {"file": words.public_key, "found": key.fingerprint, "owner": words.owner_wallet}
        )
    return key
