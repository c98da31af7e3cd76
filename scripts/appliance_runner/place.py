"""What `make run` keeps between runs: one disk, and whether a system is on it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from testing.vm.qemu import create_disk

DISK_GIB = 20


@dataclass(frozen=True, slots=True)
class Place:
    """The directory of the VM."""

    directory: Path

    @property
    def disk(self) -> Path:
        """The VM's disk."""
        return self.directory / "disk.qcow2"

    @property
    def _mark(self) -> Path:
        return self.directory / "installed"

    def is_installed(self) -> bool:
        """Whether an installation on this disk came to its end."""
        return self.disk.exists() and self._mark.exists()

    def start_over(self) -> None:
        """An empty disk. Keys of the operator in the same directory stay."""
        self._mark.unlink(missing_ok=True)
        create_disk(self.disk, gib=DISK_GIB)

    def mark_installed(self) -> None:
        """From now on the disk is booted, not installed on."""
        self._mark.touch()

    def remove(self) -> None:
        """Everything."""
        shutil.rmtree(self.directory, ignore_errors=True)
