"""Memory of wizard, worker and root agent at rest, together (PSS: shared pages counted once)."""

from __future__ import annotations

import re
from pathlib import Path

from testing.bench.ratio import Ratio
from testing.dry_run import DryRun

LIMIT_MIB = 100.0


def pss_mib(pid: int) -> float:
    """Proportional set size of a process and its children, in MiB (proc_pid_smaps(5))."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    assert found
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(found[1]) / 1024 + sum(pss_mib(int(child)) for child in children)


def measure() -> list[Ratio]:
    with DryRun() as machine:
        machine.start("agent", "worker", "wizard")
        machine.ask_wizard("/healthz")  # what is loaded at the first request counts as well
        parts = {name: pss_mib(process.pid) for name, process in machine.processes.items()}
    note = ", ".join(f"{name} {mib:.1f}" for name, mib in parts.items())
    return [
        Ratio(
            "memory: wizard + worker + agent idle / 100 MiB", sum(parts.values()), LIMIT_MIB, 1.0, "MiB", note
        )
    ]
