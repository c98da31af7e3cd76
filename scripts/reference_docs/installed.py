"""This tree's plugins as if they were installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

CODE_PATHS = ("packages/common", "plugins/engine-local", "plugins/provisioner-libvirt", ".")


@contextlib.contextmanager
def with_plugins(top: Path) -> Iterator[None]:
    """A root in which discovery finds the manifests of this tree."""
    before = os.environ.get("BLOCKHOST_ROOT")
    with tempfile.TemporaryDirectory() as root:
        share = Path(root, "usr/share/blockhost")
        share.mkdir(parents=True)
        for manifest in top.glob("plugins/*/*.json"):
            shutil.copy(manifest, share)
        os.environ["BLOCKHOST_ROOT"] = root
        try:
            yield
        finally:
            if before is None:
                del os.environ["BLOCKHOST_ROOT"]
            else:
                os.environ["BLOCKHOST_ROOT"] = before
