"""What differs between the Debian releases that the ISO can carry."""

from __future__ import annotations

from dataclasses import dataclass

from blockhost.errors import BlockhostError


@dataclass(frozen=True, slots=True)
class Suite:
    """One Debian release."""

    codename: str
    version: int
    # d-i components that the netboot initrd expects to fetch from a mirror, under this release's names.
    library_udebs: tuple[str, ...]
    # unsquashfs prints percentages since squashfs-tools 4.6.
    unsquashfs_reports: bool

    @property
    def netboot_package(self) -> str:
        """The package that holds d-i's own kernel-independent initrd."""
        return f"debian-installer-{self.version}-netboot-amd64"


SUITES = {
    suite.codename: suite
    for suite in (
        Suite(
            "trixie",
            13,
            ("libaio1-udeb", "libdevmapper1.02.1-udeb", "libparted2-udeb", "libparted-fs-resize0-udeb"),
            unsquashfs_reports=True,
        ),
        Suite(
            "bookworm",
            12,
            ("libaio1-udeb", "libdevmapper1.02.1-udeb", "libparted2-udeb", "libparted-fs-resize0-udeb"),
            unsquashfs_reports=False,
        ),
    )
}
DEFAULT = "trixie"


def suite(codename: str) -> Suite:
    """The release of that name.

    Raises:
        BlockhostError: it is not one that we build for.
    """
    try:
        return SUITES[codename]
    except KeyError:
        raise BlockhostError(f"unknown suite {codename!r}", hint=f"Known: {', '.join(SUITES)}") from None
