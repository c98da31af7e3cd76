"""`blockhost-vm-list [--format json] [--metrics]`: the machines of this host."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from blockhost import command_line
from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt import power
from blockhost.provisioner_libvirt.cli.run import parser_for, run
from blockhost.vm_db import get_database

PROGRAM = "blockhost-vm-list"


def main(argv: Sequence[str] | None = None) -> int:
    """Prints NAME STATUS IP CREATED, separated by tabs, or JSON."""
    parser = parser_for(PROGRAM, _("The machines of this host."))
    command_line.add_format(parser, default="tsv")
    parser.add_argument("--metrics", action="store_true", help=_("with what each uses, all in one call"))
    options = parser.parse_args(argv)
    return run(PROGRAM, lambda: _show(options.format, with_metrics=options.metrics))


def _show(form: str, *, with_metrics: bool) -> None:
    rows: list[dict[str, Any]] = list(power.listing(get_database(create=False)))
    if with_metrics:
        found = power.metrics([row["name"] for row in rows])
        for row in rows:
            row["metrics"] = found.get(row["name"])
    if form == "json":
        print(json.dumps(rows))
        return
    heads = ("name", "status", "ip", "created")
    figures = ("cpu_percent", "memory_used_mb", "disk_used_mb") if with_metrics else ()
    print("\t".join(head.upper() for head in (*heads, *figures)))
    for row in rows:
        used = row.get("metrics") or {}
        cells = [str(row[key] or "-") for key in heads] + [str(used.get(key, "-")) for key in figures]
        print("\t".join(cells))


if __name__ == "__main__":
    raise SystemExit(main())
