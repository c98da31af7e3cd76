"""`is`: does this wallet hold this credential? Exit 0 yes, 1 no."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from blockhost import command_line
from blockhost.engine_local import identity
from blockhost.engine_local.cli import arguments, program
from blockhost.engine_local.ledger import credentials, open_ledger
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _


def main(argv: Sequence[str] | None = None) -> int:
    made = program.parser(
        "is",
        _("Tell whether an SSH key holds a credential: exit code 0 yes, 1 no, 2 wrong usage."),
        epilog=_("is SHA256:… 3    is 3 SHA256:…    is contract ADDRESS (always no: there is no chain)"),
    )
    made.add_argument("first", metavar="FINGERPRINT", help=_("of the key"))
    made.add_argument("second", metavar="ID", help=_("number of the credential; either word may be first"))
    made.set_defaults(action=lambda words: _answer(made, words))
    return program.run(made, argv)


def _answer(made: argparse.ArgumentParser, words: argparse.Namespace) -> int:
    if words.first == "contract":
        return command_line.complain("is", _("no: this host runs without a chain, so there are no contracts"))
    pair = (words.first, words.second)
    owner = next((word for word in pair if identity.is_address(word)), None)
    token = next((word for word in pair if arguments.is_number(word)), None)
    if owner is None or token is None:
        made.error(_("expected a fingerprint (SHA256:…) and the number of a credential"))
    with open_ledger() as book:
        try:
            return 0 if credentials.get(book, int(token)).owner == owner else 1
        except BlockhostError as error:
            return command_line.complain("is", str(error))
