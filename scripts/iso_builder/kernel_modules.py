"""Which kernel modules the installer gets, and everything those need.

Installer and target share the image's signed kernel, so the modules come from there.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from pathlib import Path

# For finding the medium and the disks. No network card and no graphics: the install is offline and text only.
WANTED = [
    "drivers/ata/*",
    "drivers/block/*",
    "drivers/cdrom/*",
    "drivers/scsi/*",
    "drivers/message/fusion/*",
    "drivers/nvme/host/*",
    "drivers/md/dm-*",
    "drivers/usb/host/*",
    "drivers/usb/storage/*",
    "drivers/usb/common/*",
    "drivers/hid/usbhid/*",
    "drivers/hid/hid-generic.*",
    "drivers/input/keyboard/*",
    "drivers/input/serio/*",
    "drivers/mmc/*",
    "drivers/virtio/*",
    "drivers/hv/*",
    "drivers/nvdimm/*",
    "drivers/pci/controller/vmd.*",
    "drivers/char/hw_random/virtio-rng.*",
    "drivers/ufs/*",
    "fs/ext4/*",
    "fs/fat/*",
    "fs/nls/*",
    "fs/isofs/*",
    "fs/udf/*",
    "fs/efivarfs/*",
    "fs/squashfs/*",
    "crypto/*crc*",
    "arch/x86/crypto/*crc*",
    "lib/*crc*",
]
# What depmod reads besides the modules themselves.
INDEXES = ("modules.order", "modules.builtin", "modules.builtin.modinfo")


def parse_dependencies(modules_dep: str) -> dict[str, list[str]]:
    """`modules.dep`: each module's path with the paths that it needs (complete, by depmod)."""
    found: dict[str, list[str]] = {}
    for line in modules_dep.splitlines():
        module, _, needs = line.partition(":")
        found[module] = needs.split()
    return found


def closure(dependencies: Mapping[str, list[str]], patterns: Iterable[str] = WANTED) -> set[str]:
    """Every module that matches a pattern (below `kernel/`), with all that they depend on."""
    globs = tuple(patterns)
    chosen = {
        module
        for module in dependencies
        if any(fnmatch.fnmatchcase(module.removeprefix("kernel/"), glob) for glob in globs)
    }
    waiting = list(chosen)
    while waiting:
        for needed in dependencies.get(waiting.pop(), []):
            if needed not in chosen:
                chosen.add(needed)
                waiting.append(needed)
    return chosen


def choose(module_dir: Path) -> set[str]:
    """The paths below `/usr/lib/modules/<version>` that the installer gets, indexes included."""
    dependencies = parse_dependencies((module_dir / "modules.dep").read_text())
    return closure(dependencies) | {name for name in INDEXES if (module_dir / name).exists()}
