"""`blockhost-vm-gc [--execute] …`: suspend expired machines, destroy those past their days of grace."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from blockhost import command_line, wall_clock
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt import expiry, power
from blockhost.provisioner_libvirt.cli.run import parser_for, run
from blockhost.vm_db import get_database

PROGRAM = "blockhost-vm-gc"


def main(argv: Sequence[str] | None = None) -> int:
    """Prints one line per machine; without `--execute` it only says what would be done."""
    options = _parser().parse_args(argv)
    return run(PROGRAM, lambda: _collect(options))


def _collect(options: argparse.Namespace) -> int:
    if options.suspend_only and options.destroy_only:
        raise BlockhostError(_("--suspend-only and --destroy-only leave nothing to do"))
    if options.grace_days is not None and options.grace_days < 0:
        raise BlockhostError(
            _("--grace-days: expected 0 or more, got %(grace_days)s") % {"grace_days": options.grace_days}
        )
    database = get_database(use_mock=options.mock, create=False)
    work = expiry.due(
        database,
        {} if options.mock else power.states(),
        grace_days=options.grace_days,
        suspend=not options.destroy_only,
        destroy=not options.suspend_only,
    )
    if not options.execute or options.mock:
        if not options.mock:
            _tell(wall_clock.read())
        for item in work:
            print(
                _("would %(verb)s %(name)s (since %(since)s)")
                % {"verb": item.verb, "name": item.name, "since": item.since}
            )
        return 0
    failed = 0
    reading = wall_clock.note(database.newest_moment)
    _tell(reading)
    for item in [item for item in work if item.is_by_clock and reading.doubt]:
        failed += 1
        work.remove(item)
        print(
            _("%(verb)s %(name)s: waits until the clock can be relied on")
            % {"verb": item.verb, "name": item.name},
            flush=True,
        )
    for item, problem in expiry.collect(work, database):
        failed += bool(problem)
        print(f"{item.verb} {item.name}: {problem or 'done'}", flush=True)
    return 1 if failed else 0


def _tell(reading: wall_clock.Reading) -> None:
    if reading.doubt:
        command_line.complain(PROGRAM, reading.doubt, reading.hint)


def _parser() -> argparse.ArgumentParser:
    parser = parser_for(
        PROGRAM,
        _(
            "Suspend expired machines; destroy those past their days of grace, and what "
            "interrupted creations left."
        ),
    )
    parser.add_argument("--execute", action="store_true", help=_("really do it"))
    parser.add_argument("--suspend-only", action="store_true", help=_("phase 1 only"))
    parser.add_argument("--destroy-only", action="store_true", help=_("phase 2 only"))
    parser.add_argument(
        "--grace-days", type=int, metavar="N", help=_("days between suspension and end (from db.yaml)")
    )
    parser.add_argument("--mock", action="store_true", help=_("touch neither libvirt nor the database"))
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
