"""`blockhost-subscriptions`: the jobs behind the subscriptions, and the parking lot of those given up."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from blockhost import command_line, wall_clock
from blockhost.i18n import gettext as _
from blockhost.subscriptions.decision import vm_name
from blockhost.subscriptions.jobs import Job, JobStatus, JobStore

PROGRAM = "blockhost-subscriptions"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0: done; 1: refused or failed; 2: usage."""
    options = _parser().parse_args(argv)
    return command_line.ended(PROGRAM, lambda: _work(options))


def _work(options: argparse.Namespace) -> None:
    with contextlib.closing(JobStore(create=False)) as jobs:
        options.run(jobs, options)


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(
        PROGRAM,
        _("The monitor's jobs: one for each subscription. A job that failed too often is parked."),
    )
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = verbs.add_parser("list", help=_("all jobs; the parked ones need you"))
    listing.add_argument("--status", choices=[status.value for status in JobStatus], help=_("only those"))
    show = verbs.add_parser("show", help=_("everything about one job"))
    show.add_argument("number", type=_number, metavar="ID", help=_("number of the subscription"))
    for command, action in ((listing, _list), (show, _show)):
        command_line.add_format(command)
        command.set_defaults(run=action)
    for verb, action, purpose in (
        ("retry", _retry, _("work on it now; a machine that was destroyed is made again")),
        ("drop", _drop, _("leave it as it is, until something about the subscription changes")),
    ):
        command = verbs.add_parser(verb, help=purpose)
        command.add_argument("number", type=_number, metavar="ID", help=_("number of the subscription"))
        command.set_defaults(run=action)
    return parser


def _list(jobs: JobStore, options: argparse.Namespace) -> None:
    found = jobs.all(options.status)
    if (reading := wall_clock.read()).doubt:
        command_line.complain(PROGRAM, reading.doubt, reading.hint)
    if options.format == "json":
        print(json.dumps([_fields(job) for job in found], indent=2))
        return
    rows = [("ID", "STATUS", "FAILED", "NEXT", "VM", "NOTE")]
    for job in found:
        cells = (job.subscription, job.status, job.attempts, _time(job.due_at), vm_name(job.subscription))
        rows.append((*(str(cell) for cell in cells), _doing(job)))  # type: ignore[arg-type]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows if found else ():
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if any(job.status == JobStatus.PARKED for job in found):
        print(
            _("Mend what the note of a parked job says, then: %(program)s retry ID") % {"program": PROGRAM},
            file=sys.stderr,
        )


def _show(jobs: JobStore, options: argparse.Namespace) -> None:
    fields = _fields(jobs.get(options.number))
    if options.format == "json":
        print(json.dumps(fields, indent=2))
        return
    for key, value in fields.items():
        shown = _time(value) if key.endswith(("_at", "_until")) and isinstance(value, int) else value
        print(f"{key + ':':<16} {'–' if shown in (None, '') else shown}")


def _retry(jobs: JobStore, options: argparse.Namespace) -> None:
    jobs.retry(options.number)


def _drop(jobs: JobStore, options: argparse.Namespace) -> None:
    jobs.drop(options.number)


def _fields(job: Job) -> dict[str, object]:
    return {**asdict(job), "vm_name": vm_name(job.subscription)}


def _doing(job: Job) -> str:
    return f"{job.doing} …" if job.doing and not job.note else job.note


def _time(moment: int | None) -> str:
    if moment is None:
        return "–"
    return wall_clock.as_text(datetime.datetime.fromtimestamp(moment, datetime.UTC))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise argparse.ArgumentTypeError(
            _("expected the number of a subscription, got %(text)r") % {"text": text[:40]}
        )
    return int(text)
