"""Stage `rootfs`: the ISO's images unpacked in the order in which the installer does it."""

from __future__ import annotations

from pathlib import Path

from blockhost.command import run
from iso_builder.cache import Cache
from iso_builder.keys import digest_sources, key_of
from iso_builder.medium import Layers
from iso_builder.progress import Progress


def build(cache: Cache, codename: str, layers: Layers, progress: Progress) -> Path:
    """An unpacked root file system. Shared by everyone who asks: run containers on it with an overlay."""
    # The directory of a cached result is named after its key.
    key = key_of([image.parent.name for image in layers.in_order().values()], digest_sources("unpacked"))

    def make(result: Path, progress: Progress) -> None:
        for name, image in layers.in_order().items():
            progress.note(f"unpacking {name}")
            run(["unsquashfs", "-n", "-f", "-d", result / "rootfs", image], timeout=900)

    return cache.get(f"rootfs-{codename}", key, make, progress) / "rootfs"
