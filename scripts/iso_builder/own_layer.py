"""Stage `own`: our packages and what this one ISO was asked for, as a thin layer over the base.

Only this stage runs again after a change of our own code.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from blockhost.command import stream
from blockhost.errors import BlockhostError, CommandFailed
from iso_builder import squashfs
from iso_builder.base import IMAGE_DIR, Base
from iso_builder.cache import Cache
from iso_builder.keys import digest_file, digest_sources, digest_tree, key_of
from iso_builder.progress import Progress
from iso_builder.times import clamp
from iso_builder.version import Version

IMAGE = "blockhost.squashfs"
POOL = "var/lib/blockhost/packages"
OPAQUE = "trusted.overlay.opaque"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What this ISO's layer holds besides Debian: packages of ours and the builder's options."""

    version: Version
    host_packages: tuple[Path, ...] = ()
    template_packages: tuple[Path, ...] = ()
    testing: bool = False
    answers: Path | None = None
    public_keys: tuple[str, ...] = field(default_factory=tuple)

    def key(self) -> object:
        """Everything that makes two layers differ."""
        packages = [(path.name, digest_file(path)) for path in (*self.host_packages, *self.template_packages)]
        answers = digest_file(self.answers) if self.answers else None
        return [self.version.name, self.version.epoch, packages, self.testing, answers, self.public_keys]


def build(cache: Cache, base: Base, wishes: Wishes, progress: Progress) -> Path:
    """The layer's directory: `upper` (as an overlay's upper directory) and its squashfs image."""
    key = key_of(
        base.key,
        wishes.key(),
        digest_tree(IMAGE_DIR / "install-own-layer.sh"),
        digest_sources("own_layer", "times", "squashfs"),
    )

    def make(result: Path, progress: Progress) -> None:
        upper = result / "upper"
        _write_files(upper, wishes)
        _install(result, base, wishes, progress)
        _refuse_deletions(upper, base.tree)
        # Not before the base's time: what systemd compares with /usr must not look older.
        epoch = max(base.epoch, wishes.version.epoch)
        clamp(upper, epoch)
        squashfs.make(upper, result / IMAGE, epoch=epoch, xattrs=False)

    return cache.get(f"own-{base.tree.parent.name.split('-')[1]}", key, make, progress)


def _write_files(upper: Path, wishes: Wishes) -> None:
    """What no package brings. Directories that Debian's packages made get their modes again."""
    for name, packages in (("host", wishes.host_packages), ("template", wishes.template_packages)):
        pool = _directory(upper, f"{POOL}/{name}")
        for package in packages:
            shutil.copyfile(package, pool / package.name)
    _write(upper, "etc/blockhost-release", f"BLOCKHOST_VERSION={wishes.version.name}\n")
    consoles = ["console=tty0", "console=ttyS0,115200n8"]
    if not wishes.testing:
        consoles.reverse()  # the last one is where the boot messages go
    _write(upper, "etc/default/grub.d/blockhost.cfg", _grub_defaults(" ".join(consoles)))
    if wishes.testing:
        _write(upper, "etc/blockhost/.testing-mode", "")
    if wishes.answers:
        _write(upper, "etc/blockhost/answers.yaml", wishes.answers.read_text(), mode=0o600)
    if wishes.public_keys:
        lines = "".join(f"{key}\n" for key in wishes.public_keys)
        _directory(upper, "root", mode=0o700)
        _directory(upper, "root/.ssh", mode=0o700)
        _write(upper, "root/.ssh/authorized_keys", lines, mode=0o600)


def _grub_defaults(consoles: str) -> str:
    settings: Mapping[str, str] = {
        "GRUB_TIMEOUT": "1",
        "GRUB_DISTRIBUTOR": "BlockHost",
        "GRUB_CMDLINE_LINUX_DEFAULT": "",
        "GRUB_CMDLINE_LINUX": consoles,
        "GRUB_TERMINAL": "console serial",
        "GRUB_SERIAL_COMMAND": "serial --unit=0 --speed=115200",
        "GRUB_DISABLE_OS_PROBER": "true",
    }
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items())


def _directory(upper: Path, name: str, *, mode: int = 0o755) -> Path:
    path = upper / name
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    return path


def _write(upper: Path, name: str, text: str, *, mode: int = 0o644) -> None:
    path = upper / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=mode)
    path.write_text(text)


def _install(result: Path, base: Base, wishes: Wishes, progress: Progress) -> None:
    work, mount_point = result / "work", result / "merged"
    for directory in (work, mount_point):
        directory.mkdir()
    log: list[str] = []
    argv: list[str | Path] = [
        "unshare", "--mount", "--pid", "--fork", "--kill-child", IMAGE_DIR / "install-own-layer.sh",
        base.tree, result / "upper", work, mount_point, "yes" if wishes.public_keys else "no",
    ]  # fmt: skip
    env = {"SOURCE_DATE_EPOCH": str(wishes.version.epoch), "TZ": "UTC", "PYTHONHASHSEED": "0",
           "DEBIAN_FRONTEND": "noninteractive"}  # fmt: skip
    try:
        stream(argv, log.append, timeout=900, env=env)
    except CommandFailed as error:
        for line in log[-30:]:
            progress.note(line)
        raise BlockhostError(
            "our packages could not be installed over the base image",
            hint="A missing dependency goes into iso_builder/package_lists.py",
        ) from error
    shutil.rmtree(work)
    mount_point.rmdir()


def _refuse_deletions(upper: Path, base: Path) -> None:
    """A layer that is unpacked over the base can add and replace, but not remove."""
    gone = [str(path.relative_to(upper)) for path in _deletions(upper, base)]
    if gone:
        raise BlockhostError(
            f"our packages remove files of the base image: {', '.join(gone[:5])}",
            hint="Remove them in configure-base.sh instead",
        )


def _deletions(upper: Path, base: Path) -> Iterator[Path]:
    for path in upper.rglob("*"):
        entry = path.lstat()
        whiteout = stat.S_ISCHR(entry.st_mode) and entry.st_rdev == 0
        opaque = stat.S_ISDIR(entry.st_mode) and OPAQUE in os.listxattr(path)
        if whiteout or (opaque and (base / path.relative_to(upper)).exists()):
            yield path
