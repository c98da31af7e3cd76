"""Power-on to the code on the console, against its unavoidable parts, measured alone in the same QEMU.

The parts: the installer's kernel to a shell, the same squashfs files unpacked to the same disk, the
installed system to multi-user with nothing of ours started. What is left is partitioning, the boot
loader, firmware and menus, and first boot; each phase is told.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from blockhost import command
from testing.bench.ratio import Ratio
from testing.vm.appliance import Appliance, iso_under_test
from testing.vm.qemu import Machine, VirtualMachine, create_disk

TOP = Path(__file__).resolve().parents[2]
PROMPT = "bench# "
DRIVERS = "virtio_pci virtio_blk ata_piix ahci sr_mod cdrom isofs ext4 squashfs"
PHASES = (
    ("firmware and menu", r"Starting system log daemon"),
    ("find the medium", r"step: partman-base"),
    ("partition", r"step: unpack the system"),
    ("unpack", r"step: .*boot loader"),
    ("boot loader", r"INSTALL OK"),
    ("restart", r"Reached target.*Multi-User|BlockHost first boot"),
    ("first boot", r"Code:\s+[A-Z2-9]{4}-"),
)


def measure() -> list[Ratio]:
    iso = iso_under_test()
    with tempfile.TemporaryDirectory(dir=TOP / "build", prefix="bench-power-on-") as scratch:
        directory = Path(scratch)
        with Appliance(directory / "whole", iso=iso) as whole:
            started = time.monotonic()
            whole.install()
            whole.card()
            ours = time.monotonic() - started
            phases = list(phase_lengths(whole.vm.log.read_text(errors="replace")))
        shell, unpack = installer_parts(directory / "parts", iso)
        multi_user = boot_alone(whole, directory, iso)
    note = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in phases)
    parts = f"; alone: kernel {shell:.0f} s, unpack {unpack:.0f} s, multi-user {multi_user:.0f} s"
    total = shell + unpack + multi_user
    return [Ratio("power-on to the code / its unavoidable parts", ours, total, 1.6, "s", note + parts)]


def phase_lengths(log: str) -> Iterator[tuple[str, float]]:
    """Length of each phase, from the seconds in the serial log."""
    before = 0.0
    for name, end in PHASES:
        for line in log.splitlines():
            found = re.match(r"\s*([\d.]+) ", line)
            if found and float(found[1]) >= before and re.search(end, line):
                yield name, float(found[1]) - before
                before = float(found[1])
                break


def installer_parts(directory: Path, iso: Path) -> tuple[float, float]:
    """Seconds to a shell on the installer's kernel and initrd, and to unpack the ISO's images from there."""
    directory.mkdir(parents=True)
    for name in ("vmlinuz", "initrd"):
        extract(iso, f"/install.amd/{name}", directory / name)
    machine = Machine(
        disk=create_disk(directory / "disk.qcow2", gib=20),
        iso=iso,
        memory_mib=3072,
        extra=(
            "-kernel", str(directory / "vmlinuz"), "-initrd", str(directory / "initrd"),
            "-append", "console=ttyS0,115200n8 quiet rdinit=/bin/sh",
        ),
    )  # fmt: skip
    started = time.monotonic()
    with VirtualMachine(machine, directory, name="parts") as vm:
        vm.serial.expect("# ", timeout=180)
        shell = time.monotonic() - started
        vm.serial.sendline(f"PS1='{PROMPT}'")
        vm.serial.expect(re.escape(PROMPT), timeout=30)

        def do(line: str, timeout: float = 120) -> None:
            vm.serial.sendline(f"{line}; echo ended=$?")
            vm.serial.expect(r"ended=(\d+)", timeout=timeout)
            assert vm.serial.match[1] == "0", f"{line}: {vm.serial.before}"

        do("mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev")
        do(f"for m in {DRIVERS}; do modprobe $m 2>/dev/null; done; mkdir -p /cdrom /target")
        do("until [ -b /dev/vda -a -b /dev/sr0 ]; do :; done")
        do("mke2fs -q -t ext4 /dev/vda && mount /dev/vda /target && mount -t iso9660 /dev/sr0 /cdrom", 180)
        before = time.monotonic()
        do("for i in /cdrom/live/*.squashfs; do unsquashfs -n -f -d /target $i >/dev/null; done; sync", 600)
        return shell, time.monotonic() - before


def boot_alone(installed: Appliance, directory: Path, iso: Path) -> float:
    """Seconds from power-on of the installed system to multi-user, with first boot masked."""
    extract(iso, "/live/base.squashfs", directory / "base.squashfs")
    command.run(
        ["unsquashfs", "-q", "-d", directory / "boot", directory / "base.squashfs", "boot"], timeout=120
    )
    boot = directory / "boot/boot"
    arguments = "root=LABEL=BLOCKHOST-BOOT ro quiet console=ttyS0,115200n8 systemd.show_status=true"
    machine = replace(
        installed.machine,
        disk=create_disk(directory / "alone.qcow2", gib=0, backing=installed.machine.disk),
        iso=None,
        extra=(
            "-kernel", str(next(boot.glob("vmlinuz-*"))), "-initrd", str(next(boot.glob("initrd.img-*"))),
            "-append", f"{arguments} systemd.mask=blockhost-firstboot.service",
        ),
    )  # fmt: skip
    started = time.monotonic()
    with VirtualMachine(machine, directory, name="alone") as vm:
        vm.serial.expect("Multi-User System", timeout=400)
        return time.monotonic() - started


def extract(iso: Path, inside: str, target: Path) -> None:
    command.run(["xorriso", "-osirrox", "on", "-indev", iso, "-extract", inside, target], timeout=120)
