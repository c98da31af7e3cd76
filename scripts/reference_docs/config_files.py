"""The table of configuration files, from the table that the code goes by."""

from __future__ import annotations

from pathlib import Path

from blockhost.config_files import TABLE

HEAD = """# Configuration files

Written by `make docs` from `blockhost.config_files`; a test holds them together.

Everything below `/etc/blockhost` (root:blockhost 0750). Each file has one writer; owner and mode are right from its creation. Files are replaced whole: a reader sees the old content or the new.

| file | owner | mode | written by |
|---|---|---|---|
"""


def page(top: Path) -> str:  # noqa: ARG001  every page is made alike
    """The page's text."""
    rows = [
        f"| `{row.name}` | {row.owner}:{row.group} | {row.mode:04o} | {row.writer} |\n"
        for row in sorted(TABLE, key=lambda row: row.name)
    ]
    return HEAD + "".join(rows)
