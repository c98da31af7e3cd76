"""The disks, with what an operator needs to tell them apart and what lies on them.

udev answers on an appliance; `lsblk` where pyudev is missing or the machine is a stand-in.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from blockhost import command, paths
from blockhost.errors import CommandFailed

try:
    import pyudev
except ImportError:
    pyudev = None

SECTOR = 512  # what /sys/block/*/size counts in, whatever the disk says (Linux, block/genhd.c)
#: Kernel names of what is no disk: loops, RAM disks, floppies, optical drives, device-mapper, md, zram.
NOT_DISKS = ("loop", "ram", "fd", "sr", "dm-", "md", "zram", "nbd")
#: The volume label that our ISO carries.
MEDIUM_LABEL = "BLOCKHOST"


@dataclass(frozen=True, slots=True)
class Part:
    """A file system, volume or partition on a disk."""

    name: str
    size_bytes: int
    kind: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk. `holds_system`: this system runs from it; `is_install_medium`: our ISO is on it."""

    path: str
    model: str
    serial: str
    size_bytes: int
    bus: str = ""
    removable: bool = False
    is_install_medium: bool = False
    holds_system: bool = False
    contents: tuple[Part, ...] = ()

    @property
    def is_selectable(self) -> bool:
        """False for what must never be offered: the install medium, and what can be pulled out."""
        return not (self.is_install_medium or self.removable)

    @property
    def is_empty(self) -> bool:
        return not self.contents

    def to_json(self) -> dict[str, Any]:
        flags = {"is_selectable": self.is_selectable, "is_empty": self.is_empty}
        return {**asdict(self), "contents": [asdict(part) for part in self.contents], **flags}


def disks() -> list[Disk]:
    """All disks, by path; also those that may not be chosen, marked as such."""
    is_this_machine = paths.root() == Path("/")
    found = _from_udev() if pyudev is not None and is_this_machine else _from_lsblk()
    return sorted(found, key=lambda disk: disk.path)


def _from_udev() -> Iterator[Disk]:
    context = pyudev.Context()
    devices = list(context.list_devices(subsystem="block"))
    system = _system_disks()
    for device in devices:
        if device.device_type != "disk" or device.sys_name.startswith(NOT_DISKS):
            continue
        parts = [other for other in devices if other.device_type == "partition" and other.parent == device]
        whole = _udev_part(device)
        contents = tuple(_udev_part(part) for part in parts) or ((whole,) if whole.kind else ())
        if size := _udev_size(device):
            yield Disk(
                path=device.device_node,
                model=_text(device.properties.get("ID_MODEL_ENC") or device.properties.get("ID_MODEL", "")),
                serial=device.properties.get("ID_SERIAL_SHORT") or device.properties.get("ID_SERIAL", ""),
                size_bytes=size,
                bus=device.properties.get("ID_BUS", ""),
                removable=device.attributes.get("removable") == b"1"
                or device.properties.get("ID_BUS") == "usb",
                is_install_medium=_is_medium([whole, *contents]),
                holds_system=device.sys_name in system,
                contents=contents,
            )


def _udev_part(device: Any) -> Part:
    properties = device.properties
    return Part(
        name=device.device_node,
        size_bytes=_udev_size(device),
        kind=properties.get("ID_FS_TYPE", ""),
        label=properties.get("ID_FS_LABEL", ""),
    )


def _udev_size(device: Any) -> int:
    return int(device.attributes.get("size") or 0) * SECTOR


def _text(encoded: str) -> str:
    """udev's \\x20 notation as plain text, without what a terminal would obey."""
    plain = encoded.encode("ascii", "replace").decode("unicode_escape") if "\\x" in encoded else encoded
    return " ".join("".join(letter if letter.isprintable() else " " for letter in plain).split())


def _system_disks() -> set[str]:
    """Kernel names of the disks below the root file system, through LVM and the like."""
    number = Path("/").stat().st_dev
    return set(_whole_disks(Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")))


def _whole_disks(block: Path) -> Iterator[str]:
    if not block.exists():
        return
    block = block.resolve()
    below = list((block / "slaves").iterdir()) if (block / "slaves").is_dir() else []
    if below:
        for one in below:
            yield from _whole_disks(one)
    else:
        yield block.parent.name if (block / "partition").exists() else block.name


def _is_medium(parts: Iterable[Part]) -> bool:
    return any(part.kind == "iso9660" and part.label.upper().startswith(MEDIUM_LABEL) for part in parts)


def _from_lsblk() -> Iterator[Disk]:
    columns = "PATH,KNAME,TYPE,MODEL,SERIAL,SIZE,TRAN,RM,FSTYPE,LABEL,MOUNTPOINTS"
    try:
        answer = json.loads(command.run(["lsblk", "--json", "--bytes", "--output", columns], timeout=30))
    except (CommandFailed, ValueError):
        return
    for entry in answer.get("blockdevices", []):
        if entry.get("type") == "disk" and not entry["kname"].startswith(NOT_DISKS) and entry.get("size"):
            yield _lsblk_disk(entry)


def _lsblk_disk(entry: Mapping[str, Any]) -> Disk:
    whole = _lsblk_part(entry)
    contents = tuple(_lsblk_part(part) for part in entry.get("children", [])) or (
        (whole,) if whole.kind else ()
    )
    return Disk(
        path=entry["path"],
        model=_text(entry.get("model") or ""),
        serial=entry.get("serial") or "",
        size_bytes=int(entry["size"]),
        bus=entry.get("tran") or "",
        removable=bool(entry.get("rm")) or entry.get("tran") == "usb",
        is_install_medium=_is_medium([whole, *contents]),
        holds_system="/" in _mount_points(entry),
        contents=contents,
    )


def _lsblk_part(entry: Mapping[str, Any]) -> Part:
    return Part(
        entry["path"], int(entry.get("size") or 0), entry.get("fstype") or "", entry.get("label") or ""
    )


def _mount_points(entry: Mapping[str, Any]) -> Iterator[str]:
    yield from (point for point in entry.get("mountpoints") or [] if point)
    for child in entry.get("children", []):
        yield from _mount_points(child)
