"""`bw`: the engine's wallet command. Here it knows owners, signers and plans, and no coins."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence

from blockhost.config import load_blockhost_config
from blockhost.config_files import BLOCKHOST
from blockhost.engine_local import identity, sshsig
from blockhost.engine_local.cli import arguments, program, signup_page
from blockhost.engine_local.ledger import credentials, open_ledger, plans
from blockhost.engine_local.ledger.plans import Offer
from blockhost.errors import BlockhostError, ConfigError
from blockhost.i18n import gettext as _

_COIN_VERBS = ("send", "balance", "split", "withdraw", "swap")
_ARMOUR = re.compile(rf"\s*{sshsig.BEGIN}")


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in _COIN_VERBS and not {"-h", "--help"} & set(words):
        return program.no_coins(f"bw {words[0]}")(argparse.Namespace())
    return program.run(_parser(), [_without_armour(word) for word in words])


def administrator() -> str:
    """Who holds the administrator's credential now: it may have changed hands since setup.

    Raises:
        BlockhostError: setup did not get that far.
    """
    admin = load_blockhost_config().get("admin")
    token = admin.get("credential_nft_id") if isinstance(admin, dict) else None
    if not isinstance(token, int) or isinstance(token, bool):
        raise ConfigError(
            str(BLOCKHOST.path),
            "$.admin.credential_nft_id",
            _("missing: there is no administrator yet"),
            hint=_("Has the setup been completed?"),
        )
    with open_ledger() as book:
        return credentials.get(book, token).owner


def _parser() -> argparse.ArgumentParser:
    made = program.parser("bw", _("Owners, signers and plans of this host."))
    verbs = made.add_subparsers(title=_("commands"), metavar="COMMAND")
    _add_who(verbs)
    _add_plan(verbs)
    _add_set(verbs)
    config = verbs.add_parser("config", help=_("settings of a chain; this engine has none"))
    config.add_argument("words", nargs="*", help=_("whatever they are"))
    config.set_defaults(action=program.no_coins("bw config"))
    for verb in _COIN_VERBS:
        verbs.add_parser(verb, help=_("coins; this engine has none"))
    return made


def _add_who(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    who = verbs.add_parser(
        "who",
        help=_("the owner of a credential, or the signer of a message"),
        description=_(
            "One word: the number of a credential, or `admin`; prints its owner. Two words: a message and"
            " its signature (`-` reads that from standard input); prints the signer. Needs no environment."
        ),
    )
    who.add_argument("what", metavar="ID|admin|MESSAGE", help=_("whose owner or signer"))
    who.add_argument("signature", nargs="?", metavar="SIGNATURE", help=_("as `ssh-keygen -Y sign` prints it"))
    who.set_defaults(action=_who)


def _add_plan(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    plan = verbs.add_parser("plan", help=_("offer a plan"))
    create = plan.add_subparsers(required=True, metavar="create").add_parser(
        "create", help=_("offer another plan; prints its number")
    )
    create.add_argument("name", type=arguments.plan_name, help=_("what it is called from then on"))
    create.add_argument(
        "price_cents",
        type=arguments.plan_number("price_cents"),
        metavar="CENTS_PER_DAY",
        help=_("shown on the signup page"),
    )
    for key, default in (("cpu", 1), ("memory_mb", 2048), ("disk_gb", 20)):
        limit = plans.LIMITS[key]
        create.add_argument(
            "--" + key.split("_", maxsplit=1)[0],
            dest=key,
            type=arguments.plan_number(key),
            default=default,
            metavar=limit.unit or "N",
            help=_("default: %(default)s"),
        )
    create.set_defaults(action=_create_plan)


def _add_set(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    setter = verbs.add_parser("set", help=_("change a credential"))
    encrypt = setter.add_subparsers(required=True, metavar="encrypt").add_parser(
        "encrypt", help=_("replace the encrypted text that is kept with it")
    )
    encrypt.add_argument("token", type=arguments.number, metavar="ID", help=_("number of the credential"))
    encrypt.add_argument("text", type=arguments.hexadecimal, metavar="HEX", help=_("the text, encrypted"))
    encrypt.set_defaults(action=_set_encrypted)


def _who(words: argparse.Namespace) -> int:
    if words.signature is not None:
        text = program.read_input("-") if words.signature == "-" else words.signature
        print(identity.signer_of(words.what, text))
    elif words.what == "admin":
        print(administrator())
    elif arguments.is_number(words.what):
        with open_ledger() as book:
            print(credentials.get(book, int(words.what)).owner)
    else:
        raise BlockhostError(
            _("“%(found)s” is neither the number of a credential nor “admin”") % {"found": words.what[:60]},
            hint=_("To ask who signed a message, give its signature as the second word."),
        )
    return 0


def _create_plan(words: argparse.Namespace) -> int:
    offer = Offer(words.name, words.price_cents, words.cpu, words.memory_mb, words.disk_gb)
    with open_ledger() as book:
        print(plans.create(book, offer))
    signup_page.renew()
    return 0


def _set_encrypted(words: argparse.Namespace) -> int:
    with open_ledger() as book:
        credentials.set_user_encrypted(book, words.token, words.text)
    return 0


def _without_armour(word: str) -> str:
    """An armoured signature starts with dashes, which argparse would take for an option."""
    return sshsig.parse(word).one_line() if _is_whole_signature(word) else word


def _is_whole_signature(word: str) -> bool:
    if not _ARMOUR.match(word):
        return False
    try:
        sshsig.parse(word)
    except sshsig.SignatureRefused:
        return False
    return True
