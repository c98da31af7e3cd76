"""The machine: name, system, load, memory, and whether the root agent answers."""

from __future__ import annotations

import os
import platform
import socket
from pathlib import Path
from typing import Any

from blockhost import root_agent, wall_clock

PROC = Path("/proc")


def system(proc: Path = PROC) -> dict[str, Any]:
    """Facts for the page and for `GET /api/system`."""
    memory = _memory(proc / "meminfo")
    return {
        "hostname": socket.gethostname(),
        "os": _os_name(),
        "kernel": platform.release(),
        "cpus": os.cpu_count() or 1,
        "load": [round(value, 2) for value in os.getloadavg()],
        "memory_total_mb": memory.get("MemTotal", 0) // 1024,
        "memory_available_mb": memory.get("MemAvailable", 0) // 1024,
        "uptime_seconds": _uptime(proc / "uptime"),
        "root_agent": agent_answers(),
        "clock_doubt": wall_clock.read().doubt,
    }


def agent_answers() -> bool:
    """Whether the root agent listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(root_agent.socket_path()))
        except OSError:
            return False
    return True


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _memory(file: Path) -> dict[str, int]:
    found = {}
    for line in file.read_text().splitlines():
        words = line.split()
        if len(words) >= 2 and words[1].isdigit():
            found[words[0].rstrip(":")] = int(words[1])
    return found


def _uptime(file: Path) -> int:
    return int(float(file.read_text().split()[0]))
