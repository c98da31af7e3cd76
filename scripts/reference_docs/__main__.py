"""Write docs/reference/{cli,config-files,steps}.md from the code. `--check` only compares.

python -m reference_docs [--check]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from reference_docs import cli, config_files, steps

TOP = Path(__file__).resolve().parents[2]
PAGES: dict[str, Callable[[Path], str]] = {
    "cli.md": cli.page,
    "config-files.md": config_files.page,
    "steps.md": steps.page,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pages, or with --check say which of them are not what the code says."""
    check = "--check" in (sys.argv[1:] if argv is None else argv)
    stale = 0
    for name, write in PAGES.items():
        path = TOP / "docs/reference" / name
        text = write(TOP)
        if path.exists() and path.read_text() == text:
            continue
        if check:
            print(f"{path.relative_to(TOP)} is not what the code says; run `make docs`", file=sys.stderr)
            stale += 1
        else:
            path.write_text(text)
            print(f"wrote {path.relative_to(TOP)}")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
