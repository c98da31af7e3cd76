"""A root file system of Debian packages, by mmdebstrap, with a percentage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blockhost.command import stream
from iso_builder.apt import PrivateApt, inherited_settings
from iso_builder.progress import Progress

TIMEOUT_S = 3600
# Nobody reads manuals and translations on an appliance; licences stay.
DPKG_SETTINGS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    # Guests are x86-64 machines of the ordinary kind; libvirt asks each emulator it finds what it can do.
    "path-exclude=/usr/bin/qemu-system-i386",
    "path-exclude=/usr/bin/qemu-system-x86_64-microvm",
)


def bootstrap(
    target: Path,
    apt: PrivateApt,
    packages: Sequence[str],
    *,
    variant: str,
    setup: Sequence[str],
    customize: Sequence[str],
    expected: int,
    epoch: int,
    progress: Progress,
) -> None:
    """Install `packages` into the empty directory `target`.

    `setup` and `customize` are shell hooks (the root is `$1`); `expected` is the number of packages.
    """
    argv = [
        "mmdebstrap",
        "--mode=root",
        f"--variant={variant}",
        "--format=directory",
        "--architectures=amd64",
        "--verbose",
        '--aptopt=APT::Install-Recommends "false"',
        *(f"--aptopt={setting}" for setting in inherited_settings()),
        *(f"--dpkgopt={setting}" for setting in DPKG_SETTINGS),
        f"--include={','.join(packages)}",
        *(f"--setup-hook={hook}" for hook in setup),
        *(f"--customize-hook={hook}" for hook in customize),
        apt.codename,
        str(target),
        *(source.line() for source in apt.sources),
    ]
    seen = 0

    def count(line: str) -> None:
        nonlocal seen
        if line.startswith(("Unpacking ", "Setting up ")):
            seen += 1
            progress.percent(min(99.0, 50.0 * seen / expected))

    # A fixed hash seed: byte code is compiled in an order that would otherwise differ from run to run.
    env = {"SOURCE_DATE_EPOCH": str(epoch), "TZ": "UTC", "PYTHONHASHSEED": "0"}
    stream(argv, count, timeout=TIMEOUT_S, env=env)
