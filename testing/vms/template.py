"""The image for machines, as the ISO carries it: built once, kept in the builder's cache."""

from __future__ import annotations

import os
from pathlib import Path

from iso_builder import base, template
from iso_builder.apt import PrivateApt
from iso_builder.cache import Cache
from iso_builder.progress import Progress

CACHE = Path(__file__).resolve().parents[2] / "build/cache"


def template_folder() -> Path:
    """The folder with the image and its checksum; `BLOCKHOST_TEMPLATE` names one that is there already."""
    if given := os.environ.get("BLOCKHOST_TEMPLATE"):
        return Path(given)
    suite = os.environ.get("BLOCKHOST_SUITE") or "trixie"
    progress = Progress()
    apt = PrivateApt(CACHE / f"apt-{suite}", suite)
    apt.update(progress)
    cache = Cache(CACHE)
    image = template.build(cache, apt, base.build(cache, apt, progress), progress)
    return image.parent / "layer" / template.PLACE
