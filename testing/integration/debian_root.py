"""A bare Debian and a pool with everything that our packages need: what an install test starts from.

Both are made once, with the builder's own apt (its mirror, its checks), and kept below build/nspawn.
"""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from blockhost.command import run
from iso_builder.apt import PrivateApt, inherited_settings
from iso_builder.progress import Progress

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "build/nspawn"
#: What the ISO installs by default; the other supported suite is asked for by name.
SUITE = os.environ.get("BLOCKHOST_SUITE") or "trixie"
#: A machine that boots and can install packages; nothing that ours should have asked for.
BARE = ("systemd-sysv", "dbus", "udev")


def bare_root() -> Path:
    """The unpacked root file system of a bare Debian; made in about 20 s the first time."""
    tree = PLACE / f"bare-{SUITE}"
    with _alone():
        if not (tree / "etc/os-release").exists():
            shutil.rmtree(tree, ignore_errors=True)
            part = tree.with_name(tree.name + ".part")
            shutil.rmtree(part, ignore_errors=True)
            apt = _apt()
            run(
                ["mmdebstrap", "--mode=root", "--variant=apt", "--format=directory", "--architectures=amd64",
                 '--aptopt=APT::Install-Recommends "false"',
                 *(f"--aptopt={setting}" for setting in inherited_settings()),
                 "--dpkgopt=force-unsafe-io", "--dpkgopt=path-exclude=/usr/share/locale/*",
                 f"--include={','.join(BARE)}", SUITE, part, *(source.line() for source in apt.sources)],
                timeout=900,
            )  # fmt: skip
            part.rename(tree)
    return tree


def pool(packages: Sequence[Path]) -> Path:
    """A folder that apt can install `packages` from, with all that a bare Debian lacks for them."""
    target = PLACE / f"pool-{SUITE}"
    with _alone():
        key = sha256(json.dumps(sorted(_dependencies(packages))).encode()).hexdigest()
        stamp = target / ".made-for"
        if not stamp.is_file() or stamp.read_text() != key:
            _download(packages, target)
            stamp.write_text(key)
        for old in target.glob("blockhost-*.deb"):
            old.unlink()
        for package in packages:
            shutil.copyfile(package, target / package.name)
        index(target)
    return target


def index(folder: Path) -> None:
    """Write the list that makes a folder of packages a source for apt."""
    text = run(["apt-ftparchive", "packages", "."], cwd=folder, timeout=120)
    (folder / "Packages.gz").write_bytes(gzip.compress(text.encode()))


def _download(packages: Sequence[Path], target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    apt = _apt()
    apt.update(Progress())
    shutil.copyfile(bare_status(), apt.top / "status")
    argv = apt._argv("install")
    cache = ("-o", f"Dir::Cache::archives={target}", "-o", "APT::Install-Recommends=false")
    (target / "partial").mkdir()
    run(
        [*argv, *cache, "--yes", "--download-only", *(package.resolve() for package in packages)],
        timeout=1800,
    )
    shutil.rmtree(target / "partial")
    (target / "lock").unlink(missing_ok=True)


def bare_status() -> Path:
    return PLACE / f"bare-{SUITE}" / "var/lib/dpkg/status"


def _dependencies(packages: Sequence[Path]) -> list[str]:
    """What the packages say they need, without the versions of our own."""
    fields = (run(["dpkg-deb", "--field", package, "Depends"]).strip() for package in packages)
    return [re.sub(r"(blockhost-\S+) \([^)]*\)", r"\1", field) for field in fields]


def _apt() -> PrivateApt:
    return PrivateApt(PLACE / f"apt-{SUITE}", SUITE)


@contextmanager
def _alone() -> Iterator[None]:
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
