"""`ab`: the addressbook, who is who on this host. Writing goes through the root agent."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any

from blockhost import command_line
from blockhost.config_files import ADDRESSBOOK, read_config
from blockhost.engine_local.cli import arguments, program
from blockhost.errors import BlockhostError, ConfigError
from blockhost.i18n import gettext as _
from blockhost.root_agent import addressbook_save

RESERVED = ("server", "admin", "hot", "dev", "broker")

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")

Book = dict[str, dict[str, Any]]


def main(argv: Sequence[str] | None = None) -> int:
    return program.run(_parser(), argv)


def read_book() -> Book:
    """Names and what is known of each; empty before setup.

    Raises:
        ConfigError: the file holds something else.
    """
    try:
        book = read_config(ADDRESSBOOK) or {}
    except FileNotFoundError:
        return {}
    if not isinstance(book, dict):
        raise ConfigError(str(ADDRESSBOOK.path), "$", _("expected object"))
    for name, entry in book.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("address"), str):
            raise ConfigError(str(ADDRESSBOOK.path), f"$.{name}", _("expected an object with an address"))
    return book


def _parser() -> argparse.ArgumentParser:
    made = program.parser(
        "ab",
        _("The addressbook of this host: names for fingerprints."),
        epilog=_("%(names)s are set by the host itself.") % {"names": ", ".join(RESERVED)},
    )
    made.add_argument(
        "--init",
        nargs="+",
        metavar="WORD",
        help=_("ADMIN SERVER [DEV] [BROKER] KEYFILE: fill an empty book"),
    )
    made.set_defaults(action=lambda words: _init(made, words))
    verbs = made.add_subparsers(title=_("commands"), metavar="COMMAND")
    for verb, action, purpose in (
        ("add", _add, _("add a name")),
        ("up", _update, _("change the fingerprint of a name")),
        ("del", _delete, _("remove a name")),
        ("new", _new, _("make a key; this engine keeps none")),
    ):
        command = verbs.add_parser(verb, help=purpose)
        command.add_argument("name", type=_free_name, help=_("one of your own choice"))
        if verb in {"add", "up"}:
            command.add_argument(
                "address", type=arguments.address, metavar="SHA256:…", help=_("fingerprint of a key")
            )
        command.set_defaults(action=action)
    lister = verbs.add_parser("list", help=_("print the book"))
    command_line.add_format(lister)
    lister.set_defaults(action=_list)
    return made


def _add(words: argparse.Namespace) -> int:
    book = read_book()
    if words.name in book:
        raise BlockhostError(
            _("“%(name)s” is in the book already") % {"name": words.name}, hint=_("`ab up` changes it.")
        )
    return _save({**book, words.name: {"address": words.address}})


def _update(words: argparse.Namespace) -> int:
    book = _having(words.name)
    # A key file belonged to the address before.
    return _save({**book, words.name: {"address": words.address}})


def _delete(words: argparse.Namespace) -> int:
    book = _having(words.name)
    return _save({name: entry for name, entry in book.items() if name != words.name})


def _new(words: argparse.Namespace) -> int:
    raise BlockhostError(
        _("this engine makes no keys: a private key belongs on its owner's computer"),
        hint=_("There: `ssh-keygen -t ed25519`. Here: `ab add %(name)s SHA256:…`") % {"name": words.name},
    )


def _list(words: argparse.Namespace) -> int:
    book = read_book()
    if words.format == "json":
        program.print_json(book)
    elif book:
        rows = [(name, entry["address"], entry.get("keyfile", "")) for name, entry in sorted(book.items())]
        program.print_table(("NAME", "ADDRESS", "KEYFILE"), rows)
    return 0


def _init(made: argparse.ArgumentParser, words: argparse.Namespace) -> int:
    if words.init is None:
        made.error(_("expected a command"))
    *addresses, keyfile = words.init
    if not 2 <= len(addresses) <= 4:
        made.error(_("--init expects ADMIN SERVER [DEV] [BROKER] KEYFILE"))
    try:
        checked = [arguments.address(word) for word in addresses]
    except argparse.ArgumentTypeError as error:
        made.error(f"--init: {error}")
    if not keyfile.startswith("/"):
        made.error(_("--init: KEYFILE must be an absolute path"))
    if read_book():
        raise BlockhostError(_("the book is not empty"), hint=_("`ab list` shows it."))
    book: Book = {
        name: {"address": address}
        for name, address in zip(("admin", "server", "dev", "broker"), checked, strict=False)
    }
    book["server"]["keyfile"] = keyfile
    return _save(book)


def _having(name: str) -> Book:
    book = read_book()
    if name not in book:
        raise BlockhostError(
            _("“%(name)s” is not in the book") % {"name": name}, hint=_("`ab list` shows it.")
        )
    return book


def _save(book: Book) -> int:
    addressbook_save(book)
    return 0


def _free_name(text: str) -> str:
    if text in RESERVED:
        raise argparse.ArgumentTypeError(_("“%(name)s” is set by the host itself") % {"name": text})
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            _("expected up to 32 lower-case letters, digits, dashes, got “%(name)s”") % {"name": text[:60]}
        )
    return text
