"""Stage `template`: the disk image that customers' VMs start from."""

from __future__ import annotations

import shlex
import shutil
import time
from pathlib import Path

from blockhost.command import run
from iso_builder import disk_image, package_lists, squashfs
from iso_builder.apt import PrivateApt
from iso_builder.base import IMAGE_DIR, Base
from iso_builder.bootstrap import bootstrap
from iso_builder.cache import Cache
from iso_builder.disk_image import MIB, DiskImage
from iso_builder.keys import digest_file, digest_sources, digest_tree, key_of
from iso_builder.progress import Progress
from iso_builder.times import clamp, settle

NAME = "blockhost-vm.qcow2"
PLACE = "var/lib/blockhost/template"  # on the appliance
IMAGE = "template.squashfs"
TOOLS = ("grub", "e2fsprogs=")  # what the image is made with comes from the base
LABEL = "blockhost-vm"
SIZE = 2048 * MIB  # the smallest disk a plan can have; the first boot grows the file system to the VM's disk


def build(cache: Cache, apt: PrivateApt, base: Base, progress: Progress) -> Path:
    """A squashfs with the image and, for direct kernel boot, its `vmlinuz` and `initrd.img`, at `PLACE`."""
    configure = str(IMAGE_DIR / "configure-template.sh")
    packages = apt.resolve(package_lists.TEMPLATE)
    source_lines = [source.line() for source in apt.sources]
    key = key_of(
        apt.codename,
        packages,
        [line for line in base.packages if line.startswith(TOOLS)],
        source_lines,
        digest_tree(IMAGE_DIR / "template-files"),
        digest_tree(IMAGE_DIR / "configure-template.sh"),
        digest_tree(IMAGE_DIR / "forget-build.sh"),
        digest_sources("template", "bootstrap", "times", "disk_image"),
    )

    def make(result: Path, progress: Progress) -> None:
        work = result / "work"
        tree = work / "rootfs"
        tree.mkdir(parents=True)
        started = time.time()
        bootstrap(
            tree,
            apt,
            package_lists.TEMPLATE,
            variant="minbase",
            setup=[],
            customize=[f'{shlex.quote(configure)} "$1" {shlex.join(source_lines)}'],
            expected=len(packages),
            epoch=apt.date(),
            progress=progress,
        )
        epoch = settle(tree, started=started, at_least=apt.date())
        progress.note("writing the disk image")
        layer = result / "layer"
        place = layer / PLACE
        place.mkdir(parents=True)
        for name in ("vmlinuz", "initrd.img"):
            shutil.copyfile((tree / name).resolve(), place / name)
        raw = work / "disk.raw"
        image = DiskImage(tree=tree, label=LABEL, size=SIZE, identity=key, epoch=epoch)
        disk_image.write(raw, image, tools=base.tree, scratch=work)
        progress.note("compressing")
        run(
            [
                "qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2",
                "-o", "compression_type=zstd", raw, place / NAME,
            ],
            timeout=1800,
        )  # fmt: skip
        # Beside it, as sha256sum(1) writes it: the provisioner compares before it takes the image.
        (place / f"{NAME}.sha256").write_text(f"{digest_file(place / NAME)}  {NAME}\n")
        clamp(layer, epoch)
        squashfs.make(layer, result / IMAGE, epoch=epoch, level=1, xattrs=False)
        shutil.rmtree(work)

    return cache.get(f"template-{apt.codename}", key, make, progress) / IMAGE
