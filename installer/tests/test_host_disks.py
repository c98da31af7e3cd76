"""Disks: what an operator sees of them, and which may never be offered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from installer.host import disks
from installer.host.boot_medium import boot_medium

DEVICES = [
    {
        "path": "/dev/sda",
        "kname": "sda",
        "type": "disk",
        "model": "Samsung\x1b[31m SSD",
        "serial": "S1",
        "size": 10**12,
        "tran": "sata",
        "rm": False,
        "children": [
            {"path": "/dev/sda1", "size": 10**9, "fstype": "vfat", "label": "EFI", "mountpoints": [None]},
            {"path": "/dev/sda2", "size": 10**11, "fstype": "ext4", "label": "root", "mountpoints": ["/"]},
        ],
    },
    {"path": "/dev/sdb", "kname": "sdb", "type": "disk", "size": 4 * 10**12, "tran": "sata", "rm": False},
    {
        "path": "/dev/sdc",
        "kname": "sdc",
        "type": "disk",
        "size": 10**10,
        "tran": "sata",
        "rm": False,
        "fstype": "iso9660",
        "label": "BLOCKHOST",
    },
    {"path": "/dev/sdd", "kname": "sdd", "type": "disk", "size": 10**10, "tran": "usb", "rm": True},
    {"path": "/dev/loop0", "kname": "loop0", "type": "loop", "size": 1000},
    {"path": "/dev/sr0", "kname": "sr0", "type": "rom", "size": 1000},
    {"path": "/dev/zram0", "kname": "zram0", "type": "disk", "size": 1000},
    {"path": "/dev/sde", "kname": "sde", "type": "disk", "size": 0, "rm": True},
]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "devices").write_text(json.dumps({"blockdevices": DEVICES}))
    (programs / "lsblk").write_text(f"#!/bin/sh\ncat {tmp_path}/devices\n")
    (programs / "lsblk").chmod(0o755)
    monkeypatch.setenv("BLOCKHOST_ROOT", str(tmp_path))
    monkeypatch.setenv("BLOCKHOST_PATH", f"{programs}:/usr/bin:/bin")
    return tmp_path


def test_only_disks_with_a_size_are_listed(machine: Path) -> None:
    assert [disk.path for disk in disks.disks()] == ["/dev/sda", "/dev/sdb", "/dev/sdc", "/dev/sdd"]


def test_marks_tell_what_may_not_be_chosen(machine: Path) -> None:
    found = {disk.path: disk for disk in disks.disks()}
    assert [path for path, disk in found.items() if disk.is_selectable] == ["/dev/sda", "/dev/sdb"]
    assert found["/dev/sdc"].is_install_medium
    assert found["/dev/sda"].holds_system
    assert found["/dev/sdb"].is_empty


def test_contents_and_a_harmless_model(machine: Path) -> None:
    (disk, *_) = disks.disks()
    assert [(part.name, part.kind, part.label) for part in disk.contents] == [
        ("/dev/sda1", "vfat", "EFI"),
        ("/dev/sda2", "ext4", "root"),
    ]
    assert disk.model == "Samsung [31m SSD"
    json.dumps(disk.to_json())


def test_medium_is_the_stick_then_the_disc(machine: Path) -> None:
    assert boot_medium() == "/dev/sdc"
    (machine / "devices").write_text(json.dumps({"blockdevices": DEVICES[:2]}))
    assert boot_medium() is None
    (machine / "dev/disk/by-label").mkdir(parents=True)
    (machine / "dev/sr0").touch()
    (machine / "dev/disk/by-label/BLOCKHOST").symlink_to("../../sr0")
    assert boot_medium() == "/dev/sr0"


@pytest.mark.parametrize("answer", ["not json", "{}"])
def test_an_lsblk_that_fails_lists_nothing(machine: Path, answer: str) -> None:
    (machine / "devices").write_text(answer)
    assert disks.disks() == []


class FakeDevice:
    def __init__(
        self, name: str, kind: str, size: int, parent: FakeDevice | None = None, **more: str
    ) -> None:
        self.sys_name, self.device_type, self.parent = name, kind, parent
        self.device_node = f"/dev/{name}"
        self.properties = more
        self.attributes = {"size": str(size // 512).encode(), "removable": b"0"}


class FakeUdev:
    def __init__(self) -> None:
        stick = FakeDevice("sdb", "disk", 10**9, ID_BUS="usb", ID_FS_TYPE="iso9660", ID_FS_LABEL="BLOCKHOST")
        disk = FakeDevice("vda", "disk", 10**10, ID_MODEL_ENC="QEMU\\x20DISK\\x20", ID_SERIAL_SHORT="42")
        part = FakeDevice("vda1", "partition", 10**9, disk, ID_FS_TYPE="LVM2_member")
        self.devices = [stick, disk, part, FakeDevice("dm-0", "disk", 10**9), FakeDevice("sr0", "disk", 1000)]

    def Context(self) -> FakeUdev:
        return self

    def list_devices(self, **_options: Any) -> list[FakeDevice]:
        return self.devices


def test_udev_backend_tells_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BLOCKHOST_ROOT", raising=False)
    monkeypatch.setattr(disks, "pyudev", FakeUdev())
    stick, disk = disks.disks()
    assert (stick.is_install_medium, stick.removable, stick.is_selectable) == (True, True, False)
    assert (disk.model, disk.serial, disk.is_selectable) == ("QEMU DISK", "42", True)
    assert [part.kind for part in disk.contents] == ["LVM2_member"]
