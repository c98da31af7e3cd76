"""Time that the wall clock cannot change: seconds since boot, and which boot it is.

CLOCK_BOOTTIME counts suspend too (clock_gettime(2)); the boot id is the kernel's (random(4)).
"""

from __future__ import annotations

import time
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def seconds() -> float:
    """Seconds since this boot, suspend included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """The kernel's random id of this boot."""
    return BOOT_ID.read_text().strip()
