"""The ISO again after a change of our own code alone, against the whole build with an empty cache.

Both in this run, on the same machine. The change is one line in a copy of this tree, so that the
checkout is left as it is.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from blockhost import command
from testing.bench.ratio import Ratio

TOP = Path(__file__).resolve().parents[2]
BUILD = ("--backend", "libvirt", "--engine", "local", "--build-deb")


def build(tree: Path, cache: Path) -> float:
    """Seconds of one build."""
    started = time.perf_counter()
    command.stream(
        [tree / "scripts/build-iso.sh", *BUILD, "--output", tree / "build/bench.iso"],
        lambda line: print(f"  {line}", flush=True),
        timeout=3600,
        env={"BLOCKHOST_BUILD_CACHE": str(cache)},
        cwd=tree,
    )
    return time.perf_counter() - started


def measure() -> list[Ratio]:
    with tempfile.TemporaryDirectory(dir=TOP / "build", prefix="bench-rebuild-") as directory:
        tree, cache = Path(directory) / "tree", Path(directory) / "cache"
        command.run(["git", "clone", "-q", "--local", TOP, tree], timeout=120)
        whole = build(tree, cache)
        changed = tree / "packages/common/blockhost/paths.py"
        changed.write_text(changed.read_text() + "\n# changed\n")
        again = build(tree, cache)
        shutil.rmtree(cache, ignore_errors=True)
    return [Ratio("ISO: rebuild after a change of our own / full build", again, whole, 0.15, "s")]
