"""Stage `initrd`: Debian's installer with our menu items, as one reproducible archive."""

from __future__ import annotations

import fnmatch
import gzip
import shutil
from collections.abc import Sequence
from pathlib import Path

from blockhost.command import run
from blockhost.errors import BlockhostError
from iso_builder import cpio, image_programs, installer_parts, kernel_modules, udebs
from iso_builder.apt import PrivateApt
from iso_builder.base import Base
from iso_builder.cache import Cache
from iso_builder.cpio import Entry, Tree, regular
from iso_builder.installer_parts import MenuItem
from iso_builder.keys import digest_sources, digest_tree, key_of
from iso_builder.progress import Progress
from iso_builder.suite import Suite
from iso_builder.udebs import Stanzas

PRESEED_DIR = Path(__file__).parents[2] / "preseed"
NETBOOT_INITRD = "/text/debian-installer/amd64/initrd.gz"
INITRD = "initrd"


def build(cache: Cache, apt: PrivateApt, suite: Suite, base: Base, progress: Progress) -> Path:
    """The packed initrd, cached by udeb versions, kernel and our scripts."""
    wanted = [suite.netboot_package, *installer_parts.UDEBS, *suite.library_udebs]
    versions = apt.versions(wanted)
    downloads = cache.get(
        f"udebs-{suite.codename}",
        key_of(versions),
        lambda result, _: apt.download(wanted, result),
        progress,
    )
    key = key_of(
        versions,
        base.key,
        digest_tree(PRESEED_DIR),
        digest_sources(
            "initrd", "cpio", "udebs", "kernel_modules", "installer_parts", "image_programs", "suite"
        ),
    )

    def make(result: Path, progress: Progress) -> None:
        tree = assemble(downloads, suite, base, result / "modules")
        raw = result / "initrd.cpio"
        raw.write_bytes(cpio.write(tree, epoch=base.epoch))
        progress.note(f"{len(tree)} entries, {raw.stat().st_size >> 20} MiB unpacked")
        # One thread: the output depends on their number. zstd unpacks several times faster than xz.
        run(["zstd", "-q", "-15", "--single-thread", "--rm", raw, "-o", result / INITRD], timeout=600)
        shutil.rmtree(result / "modules")

    return cache.get(f"initrd-{suite.codename}", key, make, progress) / INITRD


def assemble(downloads: Path, suite: Suite, base: Base, scratch: Path) -> Tree:
    """Everything inside the initrd, by path."""
    tree, stanzas = _netboot(downloads, suite)
    for package in (*installer_parts.UDEBS, *suite.library_udebs):
        udebs.merge(tree, stanzas, package, _package_file(downloads, package))
    _drop_files(tree, installer_parts.DROPPED_FILES)
    _add_image_programs(tree, base.tree)
    _add_kernel_modules(tree, base, scratch)
    _add_our_parts(tree, stanzas, suite)
    udebs.strip_translations(tree)
    if unmet := udebs.unmet(stanzas):
        raise BlockhostError(
            f"the installer's menu would silently skip items; unmet: {'; '.join(unmet)}",
            hint="Add the component to UDEBS or SATISFIED in iso_builder/installer_parts.py",
        )
    tree[udebs.STATUS] = Entry(tree[udebs.STATUS].mode, udebs.format_stanzas(stanzas).encode())
    return tree


def _netboot(downloads: Path, suite: Suite) -> tuple[Tree, Stanzas]:
    """Debian's netboot initrd without its kernel's modules and without what must not be there."""
    with udebs.open_deb(_package_file(downloads, suite.netboot_package), "--fsys-tarfile") as package:
        member = next(member for member in package if member.name.endswith(NETBOOT_INITRD))
        content = package.extractfile(member)
        assert content is not None
        packed = content.read()
    tree = {udebs.merged_path(path): entry for path, entry in cpio.read(gzip.decompress(packed)).items()}
    tree = {path: entry for path, entry in tree.items() if not path.startswith("usr/lib/modules/")}
    tree |= {name: cpio.link(f"usr/{name}") for name in udebs.MERGED_DIRECTORIES}
    stanzas = udebs.parse_stanzas(tree[udebs.STATUS].data.decode())
    kernel = [name for name in stanzas if "-modules-" in name or name.startswith("kernel-image")]
    udebs.remove(tree, stanzas, [*installer_parts.DROPPED_UDEBS, *kernel])
    return tree, stanzas


def _package_file(downloads: Path, package: str) -> Path:
    return next(downloads.glob(f"{package}_*"))


def _drop_files(tree: Tree, patterns: Sequence[str]) -> None:
    for path in [path for path in tree if any(fnmatch.fnmatchcase(path, glob) for glob in patterns)]:
        del tree[path]


def _add_image_programs(tree: Tree, root: Path) -> None:
    """Programs of the image, with the libraries that the initrd lacks."""
    places = ("usr/lib", image_programs.LIBRARIES)
    for program in installer_parts.IMAGE_PROGRAMS:
        tree[program] = regular((root / program).read_bytes(), executable=True)
        for name, file in image_programs.libraries(root, program).items():
            if not any(f"{place}/{name}" in tree for place in places):
                tree[f"{image_programs.LIBRARIES}/{name}"] = regular(file.read_bytes())
    tree.update({path: cpio.link(target) for path, target in installer_parts.PROGRAM_LINKS.items()})
    tree["etc/mke2fs.conf"] = regular((root / "etc/mke2fs.conf").read_bytes())


def _add_kernel_modules(tree: Tree, base: Base, scratch: Path) -> None:
    source = base.tree / "usr/lib/modules" / base.kernel
    target = scratch / "lib/modules" / base.kernel
    for name in kernel_modules.choose(source):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, target / name)
    run(["depmod", "-b", scratch, base.kernel])
    for file in target.rglob("*"):
        if file.is_file():
            place = f"usr/lib/modules/{base.kernel}/{file.relative_to(target).as_posix()}"
            tree[place] = regular(file.read_bytes())


def _add_our_parts(tree: Tree, stanzas: Stanzas, suite: Suite) -> None:
    for item in installer_parts.MENU_ITEMS:
        _add_menu_item(tree, stanzas, item, suite)
    stanzas["blockhost-provides"] = udebs.pseudo_stanza(
        "blockhost-provides", status="installed", provides=", ".join(installer_parts.SATISFIED)
    )
    for name, place in installer_parts.SCRIPTS.items():
        tree[place] = regular((PRESEED_DIR / name).read_bytes(), executable=True)
    for name, place in installer_parts.RECIPES.items():
        tree[place] = regular((PRESEED_DIR / name).read_bytes())
    tree["preseed.cfg"] = regular(_without_comments((PRESEED_DIR / "blockhost.preseed").read_text()).encode())


def _add_menu_item(tree: Tree, stanzas: Stanzas, item: MenuItem, suite: Suite) -> None:
    stanzas[item.package] = udebs.pseudo_stanza(
        item.package, title=item.title, item=item.number, provides=item.provides, depends=item.depends
    )
    report = "-percentage" if suite.unsquashfs_reports else "-no-progress"
    script = (PRESEED_DIR / item.script).read_text().replace("@UNSQUASHFS_REPORT@", report)
    tree[f"{udebs.INFO}{item.package}.postinst"] = regular(script.encode(), executable=True)
    texts = f"Template: debian-installer/{item.package}/title\nType: text\nDescription: {item.title}\n"
    tree[f"{udebs.INFO}{item.package}.templates"] = regular(texts.encode())


def _without_comments(preseed: str) -> str:
    """d-i reads the file line by line through a shell; comments cost as much as answers."""
    return "".join(f"{line}\n" for line in preseed.splitlines() if line and not line.startswith("#"))
