"""The medium that this machine was installed from, as long as it is still plugged in."""

from __future__ import annotations

from blockhost import paths
from installer.host.disks import MEDIUM_LABEL, disks


def boot_medium() -> str | None:
    """The device of our ISO (`/dev/sdb`, `/dev/sr0`), or None when it was taken out."""
    for disk in disks():
        if disk.is_install_medium:
            return disk.path
    return _by_label()


def _by_label() -> str | None:
    """Optical drives are no disks; udev keeps a link to each by its label."""
    folder = paths.at("/dev/disk/by-label")
    if not folder.is_dir():
        return None
    links = sorted(link for link in folder.iterdir() if link.name.upper().startswith(MEDIUM_LABEL))
    return f"/dev/{links[0].resolve().name}" if links else None
