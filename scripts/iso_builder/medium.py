"""The ISO itself: BIOS, UEFI and Secure Boot, from a disc or a USB stick."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from blockhost.command import run, stream
from blockhost.errors import CommandFailed
from iso_builder import image_programs
from iso_builder.initrd import PRESEED_DIR
from iso_builder.keys import digest_file
from iso_builder.progress import Progress
from iso_builder.suite import Suite

VOLUME = "BLOCKHOST"
GRUB_BIOS = "usr/lib/grub/i386-pc"
EFI_KIB = "8192"
GRUB_BIOS_MODULES = [
    "biosdisk",
    "iso9660",
    "part_gpt",
    "part_msdos",
    "ext2",
    "lvm",
    "normal",
    "linux",
    "configfile",
    "serial",
    "terminal",
    "test",
    "search",
    "search_label",
    "echo",
]
# Debian's signed shim, and the signed GRUB that looks for its menu on removable media.
EFI_FILES = {
    "usr/lib/shim/shimx64.efi.signed": "BOOTX64.EFI",
    "usr/lib/shim/mmx64.efi.signed": "mmx64.efi",
    "usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed": "grubx64.efi",
}
INSTALLER_ARGUMENTS = "auto=true priority=critical DEBIAN_FRONTEND=text quiet"


@dataclass(frozen=True, slots=True)
class Menu:
    """What the boot menu starts by default, and on which console d-i draws (the last one named)."""

    default: str
    serial_first: bool

    def text(self) -> str:
        """The menu as GRUB reads it."""
        consoles = ["console=tty0", "console=ttyS0,115200n8"]
        if not self.serial_first:
            consoles.reverse()
        template = (PRESEED_DIR / "boot-menu.cfg").read_text()
        arguments = f"{INSTALLER_ARGUMENTS} {' '.join(consoles)}"
        return template.replace("@DEFAULT@", self.default).replace("@ARGUMENTS@", arguments)


@dataclass(frozen=True, slots=True)
class Layers:
    """The images that make up the installed system."""

    base: Path
    template: Path
    own: Path

    def in_order(self) -> dict[str, Path]:
        """By name on the disc, in the order in which they are unpacked over each other."""
        return {
            "base.squashfs": self.base,
            "template.squashfs": self.template,
            "blockhost.squashfs": self.own,
        }


def write(
    target: Path,
    *,
    scratch: Path,
    suite: Suite,
    kernel: Path,
    tools: Path,
    layers: Layers,
    initrd: Path,
    menu: Menu,
    epoch: int,
    progress: Progress,
) -> None:
    """Put everything together as `target`.

    `tools` is a root file system with GRUB and shim; `scratch` is empty and on the cache's file system.
    """
    disc = scratch / "disc"
    _lay_out(disc, suite, layers)
    (disc / "boot/grub/grub.cfg").write_text(menu.text())
    _link(kernel, disc / "install.amd/vmlinuz")
    _link(initrd, disc / "install.amd/initrd")
    _add_bios_grub(disc / "boot/grub/i386-pc", tools)
    efi = scratch / "efi.img"
    _make_efi_image(efi, scratch / "efi", tools, epoch)
    part = target.with_name(target.name + ".part")
    try:
        _run_xorriso(part, disc, efi, tools / GRUB_BIOS, epoch=epoch, progress=progress)
        part.rename(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _lay_out(disc: Path, suite: Suite, layers: Layers) -> None:
    release = disc / "dists" / suite.codename
    for directory in (
        disc / ".disk",
        disc / "install.amd",
        disc / "live",
        release,
        disc / "boot/grub/i386-pc",
    ):
        directory.mkdir(parents=True)
    # cdrom-detect takes a disc for ours by these three.
    (disc / ".disk/info").write_text(f"BlockHost, Debian {suite.version} amd64\n")
    (disc / ".disk/base_installable").write_text("")
    (release / "Release").write_text(
        f"Origin: Debian\nSuite: stable\nCodename: {suite.codename}\nComponents: main\n"
    )
    for name, image in layers.in_order().items():
        _link(image, disc / "live" / name)
    sums = "".join(f"{_cached_digest(image)}  {name}\n" for name, image in layers.in_order().items())
    (disc / "live/SHA256SUMS").write_text(sums)


def _cached_digest(image: Path) -> str:
    """The image's SHA-256; kept beside it, as the big one rarely changes."""
    beside = image.with_name(image.name + ".sha256")
    if not beside.exists():
        beside.write_text(digest_file(image))
    return beside.read_text()


def _add_bios_grub(target: Path, root: Path) -> None:
    modules = root / GRUB_BIOS
    for file in (*modules.glob("*.mod"), *modules.glob("*.lst")):
        shutil.copy(file, target)
    # The image's own grub-mkimage: tool and modules must be of one version.
    run(
        [
            *image_programs.argv(root, "usr/bin/grub-mkimage"), "-d", modules, "-O", "i386-pc-eltorito",
            "-p", "/boot/grub", "-o", target / "eltorito.img", *GRUB_BIOS_MODULES,
        ]
    )  # fmt: skip


def _make_efi_image(image: Path, scratch: Path, root: Path, epoch: int) -> None:
    boot = scratch / "EFI/BOOT"
    boot.mkdir(parents=True)
    for source, name in EFI_FILES.items():
        shutil.copy(root / source, boot / name)
    _set_times(scratch, epoch)
    run(["mkfs.vfat", "--invariant", "-n", "BLOCKHOSTEF", "-C", image, EFI_KIB])
    run(["mcopy", "-i", image, "-s", "-m", scratch / "EFI", "::"], env={"TZ": "UTC"})


def _run_xorriso(target: Path, disc: Path, efi: Path, grub: Path, *, epoch: int, progress: Progress) -> None:
    argv: list[str | Path] = [
        "xorriso", "-as", "mkisofs", "-r", "-V", VOLUME, "-o", target,
        "-J", "-joliet-long", "-iso-level", "3",
        "--grub2-mbr", grub / "boot_hybrid.img", "-partition_offset", "16",
        "-append_partition", "2", "0xef", efi, "-appended_part_as_gpt", "-c", "boot.catalog",
        "-b", "boot/grub/i386-pc/eltorito.img", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table",
        "--grub2-boot-info", "-eltorito-alt-boot", "-e", "--interval:appended_partition_2:all::",
        "-no-emul-boot", "-isohybrid-gpt-basdat", "--set_all_file_dates", f"={epoch}", disc,
    ]  # fmt: skip

    def report(line: str) -> None:
        words = line.split()
        if "% done" in line and words[3].endswith("%"):
            progress.percent(float(words[3].rstrip("%")))

    try:
        stream(argv, report, timeout=1800, env={"SOURCE_DATE_EPOCH": str(epoch), "TZ": "UTC"})
    except CommandFailed as error:
        raise CommandFailed("xorriso", error.exit_code, error.stderr, hint="Is the disk full?") from error


def _set_times(top: Path, epoch: int) -> None:
    """One time for everything: these trees are ours alone."""
    for path in (top, *top.rglob("*")):
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def _link(source: Path, target: Path) -> None:
    """Not a copy: these are the big ones. Their times do not count, xorriso sets all."""
    target.hardlink_to(source)
