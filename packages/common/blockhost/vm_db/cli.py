"""`blockhost-vmdb`: look at the database of machines and correct it; engines call it, too."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from blockhost import command_line, wall_clock
from blockhost.errors import BlockhostError
from blockhost.fields import load_json_document
from blockhost.i18n import gettext as _
from blockhost.i18n import ngettext
from blockhost.vm_db import Status, VMDatabase, VmRecord, get_database
from blockhost.vm_db.exchange import MAX_BYTES, export_database, import_database
from blockhost.vm_db.record import CHANGEABLE

PROGRAM = "blockhost-vmdb"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0: done; 1: refused or failed; 2: usage."""
    options = _parser().parse_args(argv)
    return command_line.ended(PROGRAM, lambda: _work(options))


def _work(options: argparse.Namespace) -> None:
    with contextlib.closing(get_database(create=False)) as database:
        options.run(database, options)


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(PROGRAM, _("The database of virtual machines."))
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    one = verbs.add_parser("get-vm", help=_("everything about one machine, destroyed ones included"))
    one.add_argument("name", help=_("name of the machine"))
    command_line.add_format(one, default="json", other="text")
    one.set_defaults(run=_get)
    listing = verbs.add_parser("list", help=_("all machines"))
    listing.add_argument("--status", choices=[status.value for status in Status], help=_("only those"))
    command_line.add_format(listing)
    listing.set_defaults(run=_list)
    extend = verbs.add_parser("extend-expiry", help=_("let a machine live longer"))
    extend.add_argument("name", help=_("name of the machine"))
    extend.add_argument("days", type=_days, help=_("how many, from its expiry or from now"))
    extend.set_defaults(run=_extend)
    update = verbs.add_parser(
        "update-fields",
        help=_("correct fields of a record"),
        description=_("Fields that can be set: %(names)s.") % {"names": ", ".join(CHANGEABLE)},
    )
    update.add_argument("name", help=_("name of the machine"))
    update.add_argument("--fields", required=True, metavar="JSON", help=_('such as \'{"purpose": "mail"}\''))
    update.set_defaults(run=_update)
    minted = verbs.add_parser("mark-nft-minted", help=_("note that a machine's credential exists"))
    minted.add_argument("name", help=_("name of the machine"))
    minted.add_argument("token_id", type=_token, nargs="?", help=_("its number, if it is not noted yet"))
    minted.set_defaults(run=_minted)
    verbs.add_parser("export", help=_("print everything as JSON")).set_defaults(run=_export)
    importing = verbs.add_parser("import", help=_("read what `export` printed"))
    importing.add_argument("file", help=_("`-` is standard input"))
    importing.add_argument("--replace", action="store_true", help=_("forget the machines that are there"))
    importing.set_defaults(run=_import)
    verbs.add_parser("check", help=_("look for damage in the file")).set_defaults(run=_check)
    return parser


def _get(database: VMDatabase, options: argparse.Namespace) -> None:
    record = _existing(database, options.name)
    if options.format == "json":
        print(json.dumps(record))
        return
    for key, value in record.items():
        print(f"{key + ':':<16} {'–' if value is None else value}")


def _list(database: VMDatabase, options: argparse.Namespace) -> None:
    records = database.list_vms(options.status)
    if options.format == "json":
        print(json.dumps(records, indent=2))
        return
    rows = [("NAME", "STATUS", "IP", "IPV6", "EXPIRES", "OWNER")]
    for vm in records:
        values = (vm["vm_name"], vm["status"], vm["ip_address"], vm["ipv6_address"], vm["expires_at"])
        rows.append(tuple(value or "–" for value in (*values, vm["owner"])))  # type: ignore[arg-type]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows if records else ():
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _extend(database: VMDatabase, options: argparse.Namespace) -> None:
    wall_clock.require()
    with database.transaction():
        status = _existing(database, options.name)["status"]
        print(database.extend_expiry(options.name, options.days)["expires_at"])
    if status == Status.SUSPENDED:
        print("NEEDS_RESUME")  # engines look for this word


def _update(database: VMDatabase, options: argparse.Namespace) -> None:
    fields = load_json_document(options.fields, source="--fields")
    if not isinstance(fields, dict) or not fields:
        raise BlockhostError(_("--fields: expected an object with at least one field"))
    database.update_fields(options.name, fields)


def _minted(database: VMDatabase, options: argparse.Namespace) -> None:
    with database.transaction():
        if options.token_id is None and _existing(database, options.name)["nft_token_id"] is None:
            raise BlockhostError(
                _("%(name)s: no credential is noted, so its number must be given") % {"name": options.name}
            )
        database.mark_nft_minted(options.name, options.token_id)


def _export(database: VMDatabase, _options: argparse.Namespace) -> None:
    print(json.dumps(export_database(database), indent=2))


def _import(database: VMDatabase, options: argparse.Namespace) -> None:
    source = _("standard input") if options.file == "-" else options.file
    data = sys.stdin.buffer.read() if options.file == "-" else Path(options.file).read_bytes()
    document = load_json_document(data, source=source, max_bytes=MAX_BYTES)
    count = import_database(database, document, source=source, replace=options.replace)
    print(ngettext("%(count)d machine", "%(count)d machines", count) % {"count": count}, file=sys.stderr)


def _check(database: VMDatabase, _options: argparse.Namespace) -> None:
    if complaints := database.complaints():
        raise BlockhostError(complaints[0], hint=_("Restore it from a backup: blockhost-vmdb import"))
    print("sound")


def _existing(database: VMDatabase, name: str) -> VmRecord:
    record = database.get_vm(name)
    if record is None:
        raise BlockhostError(
            _("no VM named %(name)s") % {"name": name}, hint=_("`blockhost-vmdb list` shows them.")
        )
    return record


def _days(text: str) -> int:
    return _number(text, 1, 36500, _("days"))


def _token(text: str) -> int:
    return _number(text, 0, 10**15, _("the number of a credential"))


def _number(text: str, least: int, most: int, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and least <= int(text) <= most):
        raise argparse.ArgumentTypeError(
            _("expected %(what)s, %(least)s to %(most)s, got %(text)r")
            % {"what": what, "least": least, "most": most, "text": text[:40]}
        )
    return int(text)
