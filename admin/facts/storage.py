"""File systems of real disks, with their room."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

MOUNTS = Path("/proc/self/mounts")
#: Above this share a file system is shown as filling up.
FULL_PERCENT = 80
_ESCAPE = re.compile(r"\\([0-7]{3})")


def storage(mounts: Path = MOUNTS) -> list[dict[str, Any]]:
    """One entry for each device that is mounted, at its shortest place."""
    places: dict[str, tuple[str, str]] = {}
    for line in mounts.read_text().splitlines():
        device, place, kind = [*line.split(), "", "", ""][:3]
        place = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), place)
        if device.startswith("/dev/") and len(place) < len(places.get(device, ("x" * 4096, ""))[0]):
            places[device] = (place, kind)
    return [
        found for device, (place, kind) in sorted(places.items()) if (found := _room(device, place, kind))
    ]


def _room(device: str, place: str, kind: str) -> dict[str, Any] | None:
    try:
        facts = os.statvfs(place)
    except OSError:
        return None
    total = facts.f_blocks * facts.f_frsize
    if total == 0:
        return None
    used = total - facts.f_bfree * facts.f_frsize
    usable = used + facts.f_bavail * facts.f_frsize
    return {
        "device": device,
        "mountpoint": place,
        "type": kind,
        "total_mb": total // 1_000_000,
        "used_mb": used // 1_000_000,
        "free_mb": facts.f_bavail * facts.f_frsize // 1_000_000,
        "used_percent": round(100 * used / usable) if usable else 100,
    }
