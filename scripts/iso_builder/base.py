"""Stage `base`: Debian's part of the appliance, as a directory tree and as a squashfs image."""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import dataclass
from pathlib import Path

from blockhost.files import read_json
from iso_builder import package_lists, squashfs
from iso_builder.apt import PrivateApt
from iso_builder.bootstrap import bootstrap
from iso_builder.cache import Cache
from iso_builder.keys import digest_sources, digest_tree, key_of
from iso_builder.progress import Progress
from iso_builder.times import settle

IMAGE_DIR = Path(__file__).parent / "image"
HOST_NAME = "blockhost"


@dataclass(frozen=True, slots=True)
class Base:
    """A finished base: its cache key, the tree, its image, the kernel's version."""

    key: str
    tree: Path
    image: Path
    kernel: str
    epoch: int
    packages: tuple[str, ...]  # name=version


def build(cache: Cache, apt: PrivateApt, progress: Progress) -> Base:
    """The base of this suite, with today's package versions; cached by their list."""
    packages = apt.resolve(package_lists.APPLIANCE)
    key = key_of(
        apt.codename,
        packages,
        digest_tree(IMAGE_DIR / "base-files"),
        digest_tree(IMAGE_DIR / "configure-base.sh"),
        digest_tree(IMAGE_DIR / "forget-build.sh"),
        digest_sources("base", "bootstrap", "times", "squashfs"),
    )

    def make(result: Path, progress: Progress) -> None:
        tree = result / "rootfs"
        tree.mkdir()
        started = time.time()
        released = apt.date()
        settings = shlex.quote(str(IMAGE_DIR / "base-files/etc/initramfs-tools"))
        bootstrap(
            tree,
            apt,
            package_lists.APPLIANCE,
            variant="apt",
            # Before the packages: the initramfs is made once, while the kernel is being installed.
            setup=[f'mkdir -p "$1/etc" && cp -R {settings} "$1/etc/"'],
            customize=[f'{shlex.quote(str(IMAGE_DIR / "configure-base.sh"))} "$1" {HOST_NAME}'],
            expected=len(packages),
            epoch=released,
            progress=progress,
        )
        epoch = settle(tree, started=started, at_least=released)
        progress.note("compressing")
        squashfs.make(tree, result / "base.squashfs", epoch=epoch, xattrs=True)
        (result / "packages.txt").write_text("\n".join(packages) + "\n")
        (result / "facts.json").write_text(json.dumps({"epoch": epoch}))

    result = cache.get(f"base-{apt.codename}", key, make, progress)
    kernels = sorted((result / "rootfs/usr/lib/modules").iterdir())
    return Base(
        key=key,
        tree=result / "rootfs",
        image=result / "base.squashfs",
        kernel=kernels[-1].name,
        epoch=read_json(result / "facts.json")["epoch"],
        packages=tuple(packages),
    )
