"""Rebuilding the image for machines on this host: the carried one with today's packages from its archive.

No boot loader is touched: it lies outside the file system, and finds kernel and initrd by their links.
What happens inside runs in namespaces of its own, so that its mounts die with it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from blockhost import paths
from blockhost.command import run, stream
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _

#: Where the file system begins in the image (scripts/iso_builder/disk_image.py, ROOT_START).
ROOT_START = 10 * 1024 * 1024
UPGRADE_S = 3600.0
#: Run by root as PID 1 of its namespaces; $1 is the raw image, $2 a folder, $3 where its root begins.
_SCRIPT = """set -eu
mount --make-rprivate /
mount -o loop,offset="$3" "$1" "$2"
mount -t tmpfs tmpfs "$2/run"
mount -t proc proc "$2/proc"
mount --bind /dev "$2/dev"
rm -f "$2/etc/resolv.conf"
cp /etc/resolv.conf "$2/etc/resolv.conf"
printf '#!/bin/sh\\nexit 101\\n' > "$2/usr/sbin/policy-rc.d"
chmod 755 "$2/usr/sbin/policy-rc.d"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
chroot "$2" apt-get -q update
chroot "$2" apt-get -q -y -o APT::Install-Recommends=false dist-upgrade
chroot "$2" apt-get -q -y autoremove --purge
chroot "$2" apt-get -q clean
test -e "$2/vmlinuz" && test -e "$2/initrd.img"
rm -f "$2/usr/sbin/policy-rc.d" "$2/etc/resolv.conf"
ln -s ../run/systemd/resolve/stub-resolv.conf "$2/etc/resolv.conf"
# What belongs to one machine must not be in all of them.
: > "$2/etc/machine-id"
rm -f "$2"/etc/ssh/ssh_host_* "$2/var/lib/systemd/random-seed"
find "$2/var/log" "$2/var/cache/apt" "$2/var/lib/apt/lists" -type f -delete
umount "$2/dev" "$2/proc" "$2/run"
fstrim "$2" || true
umount "$2"
"""

Progress = Callable[[float, str], None]


@contextmanager
def upgraded(image: Path, progress: Progress, say: Callable[[str], None]) -> Iterator[Path]:
    """A copy of the image with all its packages upgraded; removed afterwards. `image` stays as it is.

    Raises:
        BlockhostError: the archive cannot be reached, or the upgrade failed; nothing has changed.
    """
    # Beside the carried image: the temporary directory may be small, and in memory.
    with tempfile.TemporaryDirectory(prefix=".rebuild-", dir=image.parent) as name:
        work = Path(name)
        raw, root, result = work / "disk.raw", work / "root", work / image.name
        root.mkdir()
        progress(0.05, _("unpacking the image"))
        run(["qemu-img", "convert", "-O", "raw", image, raw], timeout=900)
        progress(0.15, _("upgrading its packages"))
        _upgrade(raw, root, say)
        progress(0.75, _("compressing"))
        _compress(raw, result)
        yield result


def digest(image: Path) -> str:
    """SHA-256 of a file."""
    with image.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _upgrade(raw: Path, root: Path, say: Callable[[str], None]) -> None:
    apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc"]
    argv = [*apart, "sh", "-c", _SCRIPT, "rebuild", str(raw), str(root), str(ROOT_START)]
    try:
        stream(argv, say, timeout=UPGRADE_S)
    except BlockhostError as error:
        raise BlockhostError(
            _("the packages of the image cannot be upgraded: %(error)s") % {"error": error},
            hint=_("Does this host reach its Debian archive? The image for machines is as it was."),
        ) from error


def _compress(raw: Path, result: Path) -> None:
    options = ["-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd"]
    run(["qemu-img", "convert", *options, raw, result], timeout=1800)
    raw.unlink()
    descriptor = os.open(result, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def room_for(image: Path) -> None:
    """Refuse to begin where the disk is too small for what is needed in between.

    Raises:
        BlockhostError: says how much is missing.
    """
    needed, free = 5 * 10**9, shutil.disk_usage(image.parent).free
    if free < needed:
        where = image.parent.relative_to(paths.root()) if paths.root() != Path("/") else image.parent
        raise BlockhostError(
            _("rebuilding needs 5 GB in %(where)s, and %(free).1f GB are free")
            % {"where": where, "free": free / 10**9}
        )
