"""The build as a recipe: what is unchanged comes from the cache, the rest is made anew."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from blockhost.command import stream
from blockhost.errors import BlockhostError
from iso_builder import answers_check, base, initrd, medium, own_layer, ssh_key, template, unpacked, version
from iso_builder.apt import PrivateApt
from iso_builder.base import Base
from iso_builder.cache import Cache
from iso_builder.medium import Layers, Menu
from iso_builder.options import Options
from iso_builder.own_layer import Wishes
from iso_builder.progress import Progress
from iso_builder.suite import suite
from iso_builder.version import REPOSITORY, Version

LATEST = "blockhost.iso"


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that the ISO is put together from, except the installer."""

    version: Version
    base: Base
    layers: Layers
    own: Path


def build_iso(options: Options, progress: Progress) -> Path:
    """Build the ISO and return its path."""
    cache = Cache(options.cache_dir)
    apt = PrivateApt(options.cache_dir / f"apt-{options.suite}", options.suite)
    parts = build_parts(options, cache, apt, progress)
    packed = initrd.build(cache, apt, suite(options.suite), parts.base, progress)
    output = options.output or options.build_dir / f"blockhost_{parts.version.name}.iso"
    output.parent.mkdir(parents=True, exist_ok=True)
    with progress.stage("iso"), tempfile.TemporaryDirectory(dir=options.cache_dir, prefix="iso-") as scratch:
        medium.write(
            output,
            scratch=Path(scratch),
            suite=suite(options.suite),
            kernel=parts.base.tree / "boot" / f"vmlinuz-{parts.base.kernel}",
            tools=parts.base.tree,
            layers=parts.layers,
            initrd=packed,
            menu=Menu(default=options.method, serial_first=options.testing),
            epoch=parts.version.epoch,
            progress=progress,
        )
    if not options.output:
        _point_to(output, options.build_dir / LATEST)
    return output


def build_parts(options: Options, cache: Cache, apt: PrivateApt, progress: Progress) -> Parts:
    """Base, template and our own layer."""
    if options.answers:
        answers_check.require_valid(options.answers)
    if options.build_deb:
        _build_packages(options, progress)
    current = version.current()
    with progress.stage("package lists"):
        apt.update(progress)
    debian = base.build(cache, apt, progress)
    vm_template = template.build(cache, apt, debian, progress)
    wishes = Wishes(
        version=current,
        host_packages=_host_packages(),
        template_packages=_packages("template"),
        testing=options.testing,
        answers=options.answers,
        public_keys=ssh_key.public_keys(
            options.ssh_key, testing=options.testing, build_dir=options.build_dir
        ),
    )
    own = own_layer.build(cache, debian, wishes, progress)
    layers = Layers(base=debian.image, template=vm_template, own=own / own_layer.IMAGE)
    return Parts(current, debian, layers, own)


def unpack_rootfs(options: Options, progress: Progress) -> Path:
    """The root file system as the ISO carries it, unpacked; for tests in containers."""
    cache = Cache(options.cache_dir)
    apt = PrivateApt(options.cache_dir / f"apt-{options.suite}", options.suite)
    parts = build_parts(options, cache, apt, progress)
    return unpacked.build(cache, options.suite, parts.layers, progress)


def _packages(folder: str) -> tuple[Path, ...]:
    return tuple(sorted((REPOSITORY / "packages" / folder).glob("*.deb")))


def _host_packages() -> tuple[Path, ...]:
    """Our packages for the host. An image of Debian alone would install, boot and then do nothing."""
    found = _packages("host")
    if not found:
        raise BlockhostError(
            f"there are no packages of ours in {REPOSITORY / 'packages/host'}",
            hint="--build-deb builds them first",
        )
    return found


def _build_packages(options: Options, progress: Progress) -> None:
    script = REPOSITORY / "scripts/build-packages.sh"
    if not script.exists():
        raise BlockhostError(f"{script} is missing")
    with progress.stage("our packages"):
        stream(
            [script, "--backend", options.backend, "--engine", options.engine], progress.note, timeout=1800
        )


def _point_to(output: Path, link: Path) -> None:
    temporary = link.with_name(link.name + ".part")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(output.name)
    temporary.rename(link)
