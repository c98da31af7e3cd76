"""A bootable disk image without root, loop devices or mounts: GPT, BIOS boot, EFI partition, one ext4.

The layout of GRUB's BIOS images (boot.img, core.img) is that of its own grub-bios-setup.
"""

from __future__ import annotations

import os
import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from blockhost.command import run
from iso_builder import image_programs

SECTOR = 512
MIB = 1024 * 1024
BIOS_PARTITION_START = 1 * MIB
EFI_START = 2 * MIB
EFI_SIZE = 8 * MIB
ROOT_START = 10 * MIB
TAIL = 1 * MIB  # the GPT's second copy
BIOS_BOOT_TYPE = "21686148-6449-6E6F-744E-656564454649"
EFI_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
LINUX_ROOT_TYPE = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"  # x86-64 root, grown by its own tools
# Where boot.img keeps the sector of core.img, and where core.img keeps its first block list entry.
BOOT_KERNEL_SECTOR = 0x5C
CORE_BLOCK_LIST = SECTOR - 12
GRUB_MODULES = [
    "part_gpt",
    "ext2",
    "normal",
    "linux",
    "search",
    "search_label",
    "configfile",
    "serial",
    "terminal",
    "test",
    "echo",
]


@dataclass(frozen=True, slots=True)
class DiskImage:
    """What an image is made of. `identity` seeds every id in it, so that equal inputs give equal bytes."""

    tree: Path
    label: str
    size: int
    identity: str
    epoch: int

    def id_for(self, purpose: str) -> str:
        """A fixed UUID for one purpose."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.identity}/{purpose}"))


def write(target: Path, image: DiskImage, *, tools: Path, scratch: Path) -> None:
    """Write the raw image; `tools` is a root file system with GRUB's modules and e2fsprogs."""
    with target.open("wb") as file:
        file.truncate(image.size)
    _partition(target, image)
    root = scratch / "root.ext4"
    _make_root(root, image, tools)
    efi = scratch / "efi.vfat"
    _make_efi(efi, image, tools, scratch)
    core = _grub_image(tools, "i386-pc", image, ["biosdisk", *GRUB_MODULES], scratch)
    with target.open("r+b") as file:
        _embed_grub(file, (tools / "usr/lib/grub/i386-pc/boot.img").read_bytes(), core.read_bytes())
    for part, start in ((efi, EFI_START), (root, ROOT_START)):
        run(
            ["dd", f"if={part}", f"of={target}", "bs=1M", f"seek={start // MIB}", "conv=notrunc,sparse"],
            timeout=600,
        )
        part.unlink()


def _partition(target: Path, image: DiskImage) -> None:
    root_size = image.size - ROOT_START - TAIL
    table = [
        "label: gpt",
        f"label-id: {image.id_for('disk')}",
        _row(BIOS_PARTITION_START, EFI_START - BIOS_PARTITION_START, BIOS_BOOT_TYPE, image.id_for("bios")),
        _row(EFI_START, EFI_SIZE, EFI_TYPE, image.id_for("efi")),
        _row(ROOT_START, root_size, LINUX_ROOT_TYPE, image.id_for("root-partition")),
    ]
    run(["sfdisk", "--quiet", target], stdin="\n".join(table) + "\n")


def _row(start: int, size: int, kind: str, identity: str) -> str:
    return f"start={start // SECTOR}, size={size // SECTOR}, type={kind}, uuid={identity}"


def _make_root(target: Path, image: DiskImage, tools: Path) -> None:
    size_kib = (image.size - ROOT_START - TAIL) // 1024
    # The image's own mke2fs: build machines' older ones write the time of day into every inode.
    options = f"hash_seed={image.id_for('hash')},lazy_itable_init=1"
    argv: list[str | Path] = [
        *image_programs.argv(tools, "usr/sbin/mke2fs"), "-q", "-t", "ext4", "-d", image.tree,
        "-L", image.label, "-U", image.id_for("root"), "-E", options,
        "-O", "^metadata_csum_seed,^orphan_file", "-m", "1", target, str(size_kib),
    ]  # fmt: skip
    run(argv, timeout=900, env=_reproducible(image))


def _make_efi(target: Path, image: DiskImage, tools: Path, scratch: Path) -> None:
    loader = _grub_image(tools, "x86_64-efi", image, GRUB_MODULES, scratch)
    run(["mkfs.vfat", "--invariant", "-C", target, str(EFI_SIZE // 1024)])
    for directory in ("::/EFI", "::/EFI/BOOT"):
        run(["mmd", "-i", target, directory], env=_reproducible(image))
    run(["mcopy", "-i", target, "-m", loader, "::/EFI/BOOT/BOOTX64.EFI"], env=_reproducible(image))


def _grub_image(tools: Path, platform: str, image: DiskImage, modules: list[str], scratch: Path) -> Path:
    """GRUB with a start-up script inside that hands over to the file system of this label."""
    start = scratch / "start.cfg"
    start.write_text(
        f"search --no-floppy --label {image.label} --set=root\n"
        "set prefix=($root)/boot/grub\n"
        "configfile $prefix/grub.cfg\n"
    )
    target = scratch / f"grub-{platform}"
    run(
        [
            *image_programs.argv(tools, "usr/bin/grub-mkimage"), "-d", tools / "usr/lib/grub" / platform,
            "-O", platform, "-c", start, "-p", "/boot/grub", "-o", target, *modules,
        ]
    )  # fmt: skip
    os.utime(target, (image.epoch, image.epoch))
    return target


def _embed_grub(disk: IO[bytes], boot: bytes, core: bytes) -> None:
    """Put boot.img into the first sector (keeping the partition table) and core.img into its partition."""
    start = BIOS_PARTITION_START // SECTOR
    if len(core) > EFI_START - BIOS_PARTITION_START:
        raise ValueError(f"GRUB's core image is too large: {len(core)} bytes")
    patched = bytearray(boot[:440])
    struct.pack_into("<Q", patched, BOOT_KERNEL_SECTOR, start)
    disk.seek(0)
    disk.write(bytes(patched))
    first = bytearray(core)
    struct.pack_into("<Q", first, CORE_BLOCK_LIST, start + 1)
    disk.seek(BIOS_PARTITION_START)
    disk.write(bytes(first))


def _reproducible(image: DiskImage) -> Mapping[str, str]:
    return {"SOURCE_DATE_EPOCH": str(image.epoch), "E2FSPROGS_FAKE_TIME": str(image.epoch), "TZ": "UTC"}
