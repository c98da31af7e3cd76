"""`python3 -m iso_builder [--rootfs] …`: build the ISO, or unpack the root file system that it carries."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence

from blockhost.errors import BlockhostError, CommandFailed
from iso_builder import options as command_line
from iso_builder.build import build_iso, unpack_rootfs
from iso_builder.progress import Progress

ROOTFS = "--rootfs"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 refused or failed, 130 interrupted; nothing half-made stays behind."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    rootfs = ROOTFS in arguments
    options = command_line.parse([argument for argument in arguments if argument != ROOTFS])
    if os.geteuid() != 0:
        print("build-iso: needs root (the image's files belong to root); try sudo", file=sys.stderr)
        return 1
    os.umask(0o022)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # cleans up as Ctrl-C does
    progress = Progress()
    started = time.monotonic()
    try:
        result = unpack_rootfs(options, progress) if rootfs else build_iso(options, progress)
    except BlockhostError as error:
        _explain(error)
        return 1
    except KeyboardInterrupt:
        print("\nbuild-iso: interrupted; unfinished stages were removed", file=sys.stderr)
        return 130
    if not rootfs:
        size = result.stat().st_size / 1e6
        progress.note(f"{result.name}: {size:.0f} MB in {time.monotonic() - started:.0f} s")
    print(result)
    return 0


def _explain(error: BlockhostError) -> None:
    if isinstance(error, CommandFailed):
        print("\n".join(error.stderr.strip().splitlines()[-15:]), file=sys.stderr)
    print(f"build-iso: {error}", file=sys.stderr)
    if error.hint:
        print(f"build-iso: {error.hint}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
