"""The rule that picks the disk: it writes nothing when in doubt.

Runs the installer's own script under busybox sh, as d-i does, with a made-up /sys and /proc.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from iso_builder import installer_parts

SCRIPT = Path(__file__).parents[2] / "preseed/choose-disk.sh"
SECTORS_PER_GB = 2097152
STOPPED = 3


@dataclass(frozen=True)
class Disk:
    name: str
    gb: int = 100
    removable: bool = False
    read_only: bool = False
    usb: bool = False
    content: str = ""  # what blkid would say


@dataclass
class Machine:
    """A fake root with recorded programs."""

    root: Path
    disks: list[Disk] = field(default_factory=list)
    arguments: str = ""
    medium: str = "sr0"
    volume_groups: str = ""  # what vgs would say

    def choose(self, *, damage_medium: bool = False) -> tuple[int, str, dict[str, str]]:
        """Exit code, what the operator reads, and what debconf was told."""
        self._fill(damage_medium=damage_medium)
        self._programs()
        done = subprocess.run(
            ["busybox", "sh", SCRIPT],
            env={
                "PATH": f"{self.root}/bin:/usr/bin:/bin",
                "BLOCKHOST_ROOT": str(self.root),
                "BLOCKHOST_STOP": "1",
            },
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.stderr == ""
        told = self.root / "debconf"
        answers = dict(line.split() for line in told.read_text().splitlines()) if told.exists() else {}
        return done.returncode, done.stdout, answers

    def _fill(self, *, damage_medium: bool) -> None:
        for disk in self.disks:
            bus = "usb1/1-1" if disk.usb else "ata1"
            device = self.root / f"sys/devices/pci0000:00/{bus}/{disk.name}"
            device.mkdir(parents=True)
            block = self.root / "sys/block" / disk.name
            block.mkdir(parents=True)
            (block / "device").symlink_to(device)
            for name, value in (
                ("size", disk.gb * SECTORS_PER_GB),
                ("ro", int(disk.read_only)),
                ("removable", int(disk.removable)),
            ):
                (block / name).write_text(f"{value}\n")
        proc = self.root / "proc"
        proc.mkdir()
        (proc / "cmdline").write_text(f"quiet {self.arguments}\n")
        (proc / "mounts").write_text(f"none /proc proc rw 0 0\n/dev/{self.medium} /cdrom iso9660 ro 0 0\n")
        live = self.root / "cdrom/live"
        live.mkdir(parents=True)
        (live / "base.squashfs").write_bytes(b"image")
        digest = hashlib.sha256(b"other" if damage_medium else b"image").hexdigest()
        (live / "SHA256SUMS").write_text(f"{digest}  base.squashfs\n")

    def _programs(self) -> None:
        (self.root / "bin").mkdir()
        (self.root / "tmp").mkdir()
        (self.root / "bin/blockhost-check-medium").symlink_to(SCRIPT.with_name("check-medium.sh"))
        contents = " ".join(f"/dev/{disk.name}" for disk in self.disks if disk.content)
        self._program(
            "list-devices", f"printf '%s\\n' {' '.join(f'/dev/{disk.name}' for disk in self.disks)}"
        )
        self._program("blockhost-say", 'echo "$*"')
        self._program("debconf-set", f'echo "$@" >> {self.root}/debconf')
        self._program("blkid", f'case " {contents} " in *" $2 "*) exit 0 ;; esac; exit 2')
        self._program("vgs", f"printf '{self.volume_groups}'")

    def _program(self, name: str, body: str) -> None:
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    "disks",
    [
        [Disk("sda")],
        [Disk("vda"), Disk("sr0", gb=1, removable=True)],
        [Disk("nvme0n1"), Disk("sdb", gb=16, usb=True)],
        [Disk("sda", gb=500), Disk("sdb", gb=4)],
        [Disk("sda", read_only=True), Disk("sdb")],
    ],
    ids=["one", "with a cd drive", "with a usb disk", "with a small one", "with a read-only one"],
)
def test_the_only_possible_disk_is_taken(machine: Machine, disks: list[Disk]) -> None:
    machine.disks = disks
    code, text, answers = machine.choose()
    expected = "/dev/sdb" if disks[0].read_only else f"/dev/{disks[0].name}"
    assert code == 0
    assert answers == {
        "partman-auto/disk": expected,
        "partman-auto/method": "regular",
        "partman-auto/expert_recipe_file": "/usr/share/blockhost/partitions.bios",
    }
    assert f"installing on {expected}" in text


@pytest.mark.parametrize(
    ("disks", "count"),
    [
        ([], 0),
        ([Disk("sda"), Disk("sdb")], 2),
        ([Disk("sda", gb=4)], 0),
        ([Disk("sda", usb=True)], 0),
        ([Disk("sda", removable=True)], 0),
    ],
    ids=["none", "two", "too small", "only usb", "only removable"],
)
def test_doubt_writes_nothing(machine: Machine, disks: list[Disk], count: int) -> None:
    machine.disks = disks
    code, text, answers = machine.choose()
    assert (code, answers) == (STOPPED, {})
    assert f"INSTALL STOPPED, nothing written: {count} possible target disks" in text
    assert all(f"/dev/{disk.name}" in text for disk in disks)


def test_a_disk_with_something_on_it_is_left_alone(machine: Machine) -> None:
    machine.disks = [Disk("sda", content="ntfs")]
    code, text, answers = machine.choose()
    assert (code, answers) == (STOPPED, {})
    assert "/dev/sda is not empty" in text


def test_it_is_erased_when_that_was_asked_for(machine: Machine) -> None:
    machine.disks = [Disk("sda", content="ntfs")]
    machine.arguments = "blockhost_wipe=yes"
    code, _, answers = machine.choose()
    assert (code, answers["partman-auto/disk"]) == (0, "/dev/sda")


@pytest.mark.parametrize("argument", ["blockhost_wipe=no", "blockhost_wipe=", "xblockhost_wipe=yes"])
def test_other_words_do_not_erase(machine: Machine, argument: str) -> None:
    machine.disks = [Disk("sda", content="ext4")]
    machine.arguments = argument
    assert machine.choose()[0] == STOPPED


def test_asking_for_one_of_two_disks_decides(machine: Machine) -> None:
    machine.disks = [Disk("sda"), Disk("sdb")]
    machine.arguments = "blockhost_disk=/dev/sdb"
    code, _, answers = machine.choose()
    assert (code, answers["partman-auto/disk"]) == (0, "/dev/sdb")


def test_asking_for_a_disk_that_is_not_there_stops(machine: Machine) -> None:
    machine.disks = [Disk("sda")]
    machine.arguments = "blockhost_disk=/dev/sdz"
    assert machine.choose()[0] == STOPPED


@pytest.mark.parametrize(("stick", "mounted"), [("sdb", "sdb"), ("sdb", "sdb1"), ("mmcblk0", "mmcblk0p1")])
def test_the_medium_itself_is_never_taken(machine: Machine, stick: str, mounted: str) -> None:
    machine.disks = [Disk(stick, content="iso9660")]
    machine.medium = mounted
    machine.arguments = f"blockhost_disk=/dev/{stick} blockhost_wipe=yes"
    code, text, answers = machine.choose()
    assert (code, answers) == (STOPPED, {})
    assert "install-medium" in text


def test_a_disk_whose_name_begins_the_mediums_is_another_disk(machine: Machine) -> None:
    machine.disks = [Disk("sda"), Disk("sdaa", usb=True)]
    machine.medium = "sdaa1"
    assert machine.choose()[2]["partman-auto/disk"] == "/dev/sda"


def test_uefi_gets_its_own_partitions(machine: Machine) -> None:
    machine.disks = [Disk("sda")]
    (machine.root / "sys/firmware/efi").mkdir(parents=True)
    recipe = machine.choose()[2]["partman-auto/expert_recipe_file"]
    assert recipe.removeprefix("/") in installer_parts.RECIPES.values()
    assert recipe.endswith(".efi")


def test_lvm_by_argument(machine: Machine) -> None:
    machine.disks = [Disk("sda")]
    machine.arguments = "blockhost_method=lvm"
    assert machine.choose()[2]["partman-auto/method"] == "lvm"


def test_an_unknown_method_stops(machine: Machine) -> None:
    machine.disks = [Disk("sda")]
    machine.arguments = "blockhost_method=zfs"
    code, text, _ = machine.choose()
    assert code == STOPPED
    assert "blockhost_method=zfs" in text


def test_a_second_volume_group_of_our_name_stops(machine: Machine) -> None:
    machine.disks = [Disk("sda"), Disk("sdb", content="LVM2_member")]
    machine.arguments = "blockhost_method=lvm blockhost_disk=/dev/sda"
    machine.volume_groups = "  /dev/sdb1\\n"
    code, text, answers = machine.choose()
    assert (code, answers) == (STOPPED, {})
    assert "/dev/sdb1 belongs to a volume group named blockhost" in text


def test_our_own_old_volume_group_on_the_erased_disk_is_no_obstacle(machine: Machine) -> None:
    machine.disks = [Disk("sda", content="LVM2_member")]
    machine.arguments = "blockhost_method=lvm blockhost_wipe=yes"
    machine.volume_groups = "  /dev/sda5\\n"
    assert machine.choose()[0] == 0


def test_a_damaged_medium_is_found_before_the_disk_is_touched(machine: Machine) -> None:
    machine.disks = [Disk("sda")]
    code, text, answers = machine.choose(damage_medium=True)
    assert (code, answers) == (STOPPED, {})
    assert "installation medium is damaged" in text


def test_the_script_is_executable() -> None:
    assert os.access(SCRIPT, os.X_OK)
