"""`blockhost-local`: the operator's till: subscriptions, and which plans there are for them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from blockhost import command_line
from blockhost.engine_local import identity, sealing
from blockhost.engine_local.cli import arguments, machines, program, signup_page
from blockhost.engine_local.identity import PublicKey
from blockhost.engine_local.ledger import Ledger, credentials, keys, open_ledger, plans, subscriptions
from blockhost.engine_local.ledger.subscriptions import Subscription, as_text
from blockhost.engine_local.signup import page
from blockhost.engine_local.source import details_of
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _


def main(argv: Sequence[str] | None = None) -> int:
    return program.run(_parser(), argv)


def _parser() -> argparse.ArgumentParser:
    made = program.parser("blockhost-local", _("Subscriptions of a host without a chain."))
    verbs = made.add_subparsers(title=_("commands"), metavar="COMMAND")
    grant = verbs.add_parser("grant", help=_("give the owner of a public key a subscription"))
    grant.add_argument("keyfile", metavar="KEYFILE", help=_("the public key; `-` is standard input"))
    grant.add_argument("--plan", required=True, metavar="NAME", help=_("`blockhost-local plans` lists them"))
    grant.add_argument("--days", required=True, type=arguments.days, metavar="N", help=_("until it expires"))
    grant.add_argument(
        "--once",
        type=arguments.occasion,
        metavar="OCCASION",
        help=_("grant at most once for this occasion (an invoice number)"),
    )
    grant.set_defaults(action=_grant)
    extend = verbs.add_parser("extend", help=_("add days to a subscription"))
    extend.add_argument("number", type=arguments.number, metavar="ID", help=_("number of the subscription"))
    extend.add_argument(
        "--days", required=True, type=arguments.days, metavar="N", help=_("from its expiry, or from now")
    )
    extend.set_defaults(action=_extend)
    revoke = verbs.add_parser("revoke", help=_("end a subscription now"))
    revoke.add_argument("number", type=arguments.number, metavar="ID", help=_("number of the subscription"))
    revoke.set_defaults(action=_revoke)
    transfer = verbs.add_parser("transfer", help=_("give a subscription and its machine to another key"))
    transfer.add_argument("number", type=arguments.number, metavar="ID", help=_("number of the subscription"))
    transfer.add_argument("keyfile", metavar="KEYFILE", help=_("the public key; `-` is standard input"))
    transfer.set_defaults(action=_transfer)
    show = verbs.add_parser("show", help=_("everything about one subscription"))
    show.add_argument("number", type=arguments.number, metavar="ID", help=_("number of the subscription"))
    _lists(verbs, show)
    return made


def _lists(verbs: argparse._SubParsersAction[argparse.ArgumentParser], show: argparse.ArgumentParser) -> None:
    for verb, is_active, purpose in (
        ("withdraw", False, _("no longer offer a plan; subscriptions of it go on")),
        ("offer", True, _("offer a plan again that was withdrawn")),
    ):
        change = verbs.add_parser(verb, help=purpose)
        change.add_argument("plan", metavar="NAME", help=_("`blockhost-local plans` lists them"))
        change.set_defaults(action=_set_active, is_active=is_active)
    listing = verbs.add_parser("list", help=_("all subscriptions"))
    offers = verbs.add_parser("plans", help=_("all plans"))
    for command, action in ((show, _show), (listing, _list), (offers, _plans)):
        command_line.add_format(command)
        command.set_defaults(action=action)


def _grant(words: argparse.Namespace) -> int:
    key = _key(words.keyfile)
    with open_ledger() as book:
        plan = plans.find(book, words.plan)
        if not plan.active and subscriptions.find_once(book, words.once) is None:
            raise BlockhostError(
                _("The plan “%(name)s” is no longer offered.") % {"name": words.plan},
                hint=_("`blockhost-local offer` offers it again; subscriptions of it can be extended."),
            )
        print(subscriptions.grant(book, key, plan_id=plan.id, days=words.days, once=words.once))
    return 0


def _extend(words: argparse.Namespace) -> int:
    with open_ledger() as book:
        subscriptions.extend(book, words.number, days=words.days)
        print(subscriptions.get(book, words.number).expires)
    return 0


def _revoke(words: argparse.Namespace) -> int:
    with open_ledger() as book:
        subscriptions.revoke(book, words.number)
    return 0


def _transfer(words: argparse.Namespace) -> int:
    key = _key(words.keyfile)
    with open_ledger() as book:
        subscriptions.transfer(book, words.number, key)
    return 0


def _key(keyfile: str) -> PublicKey:
    key = identity.load_public_key(keyfile, stdin=program.read_input("-") if keyfile == "-" else None)
    if not sealing.is_sealable(key.line):
        print(
            _("Nothing can be encrypted to a key of type %(kind)s: tell its owner where the machine is"
              " yourself, `blockhost-local show` tells you.") % {"kind": key.key_type},
            file=sys.stderr,
        )  # fmt: skip
    return key


def _show(words: argparse.Namespace) -> int:
    with open_ledger() as book:
        record = _record(book, subscriptions.get(book, words.number))
    if words.format == "json":
        program.print_json(record)
        return 0
    for label, value in (
        (_("subscription"), record["id"]),
        (_("state"), record["state"]),
        (_("plan"), record["plan"]),
        (_("owner"), record["owner"]),
        (_("public key"), record["public_key"]),
        (_("granted"), as_text(record["created_at"])),
        (_("expires"), as_text(record["expires_at"])),
        (_("credentials"), ", ".join(str(token) for token in record["credentials"]) or "–"),
        (_("machine"), machines.as_line(record["machine"])),
        (_("work"), machines.work_as_line(record["job"])),
    ):
        print(f"{label + ':':<14} {value}")
    for line in machines.what_to_try(words.number, record["job"]):
        print(f"{'':<14} {line}")
    if record["details"]:
        print(_("details for the owner; `age --decrypt -i KEYFILE` reads them:"))
        print(record["details"], end="")
    return 0


def _list(words: argparse.Namespace) -> int:
    with open_ledger() as book:
        known = subscriptions.all_subscriptions(book)
    if words.format == "json":
        program.print_json([_fields(subscription) for subscription in known])
    elif known:
        states = machines.states()
        rows = [
            (item.id, item.state(), item.plan, item.expires, states.get(item.id, "–"), item.owner)
            for item in known
        ]
        program.print_table(("ID", "STATE", "PLAN", "EXPIRES", "MACHINE", "OWNER"), rows)
    return 0


def _plans(words: argparse.Namespace) -> int:
    with open_ledger() as book:
        known = plans.all_plans(book)
    if words.format == "json":
        program.print_json([{"id": plan.id, **asdict(plan.offer), "active": plan.active} for plan in known])
    elif known:
        rows = [
            (plan.id, plan.offer.name, page.price(plan.offer.price_cents), plan.offer.cpu,
             page.memory(plan.offer.memory_mb), f"{plan.offer.disk_gb} GB",
             _("yes") if plan.active else _("no"))
            for plan in known
        ]  # fmt: skip
        program.print_table(("ID", "NAME", "PRICE", "CPU", "MEMORY", "DISK", "OFFERED"), rows)
    return 0


def _set_active(words: argparse.Namespace) -> int:
    with open_ledger() as book:
        plans.set_active(book, words.plan, is_active=words.is_active)
    signup_page.renew()
    return 0


def _fields(subscription: Subscription) -> dict[str, Any]:
    return {**asdict(subscription), "state": str(subscription.state())}


def _record(book: Ledger, subscription: Subscription) -> dict[str, Any]:
    return {
        **_fields(subscription),
        "public_key": keys.public_key_of(book, subscription.owner),
        "credentials": [found.id for found in credentials.owned_by(book, subscription.owner)],
        "machine": machines.machine_of(subscription.id),
        "job": machines.job_of(subscription.id),
        "details": details_of(book, subscription.id),
    }
