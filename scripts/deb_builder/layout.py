"""The package as it will lie on the appliance, below `root/` of a staging folder.

build/debs/<package>/stage/root/      usr/…, byte for byte what gets installed
build/debs/<package>/stage/debian/    the package's own debian/ with what is the same for all
"""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path

from blockhost.command import run
from deb_builder.errors import BuildError
from deb_builder.manpage import render
from deb_builder.recipe import Recipe

_LEFT_BEHIND = ("tests", "__pycache__", "*.pyc", "debian", ".*", "*.po", "*.pot")
_SHARED = Path(__file__).parent / "shared"


def lay_out(root: Path, recipe: Recipe, stage: Path) -> str:
    """Fill `stage` afresh; returns the hash of everything in it (names, modes and contents)."""
    shutil.rmtree(stage, ignore_errors=True)
    for source, target in recipe.trees.items():
        _copy(root, source, stage / "root" / target.lstrip("/"), recipe)
    for command, function in recipe.launchers.items():
        _write(stage / "root/usr/bin" / command, _launcher(function, recipe), mode=0o755)
    _catalogs(root, recipe, stage)
    shutil.copytree(
        root / recipe.folder / "debian", stage / "debian", ignore=shutil.ignore_patterns("build.toml")
    )
    shutil.copytree(
        _SHARED, stage / "debian", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )
    (stage / "debian/rules").chmod(0o755)
    _write(stage / f"debian/{recipe.name}.install", "root/* /\n")
    for page in _man_pages(root, recipe):
        shutil.copyfile(page, _made(stage / "man" / page.name))
    if (licence := root / "LICENSE").is_file():
        shutil.copyfile(licence, stage / "debian/copyright")
    return tree_hash(stage)


def add_version(recipe: Recipe, stage: Path, version: str, epoch: int, date: str) -> None:
    """What carries the version: the Debian changelog and the manual pages."""
    entry = f"{recipe.name} ({version}) unstable; urgency=medium\n\n  * See CHANGELOG.md of the project.\n\n"
    _write(stage / "debian/changelog", f"{entry} -- {_maintainer(stage)}  {date}\n")
    pages = sorted((stage / "man").glob("*.md")) if (stage / "man").is_dir() else []
    for page in pages:
        text = render(page.read_text(encoding="utf-8"), source=page.name, version=version, epoch=epoch)
        _write(page.with_suffix(""), text)
        page.unlink()
    names = "".join(f"man/{page.stem}\n" for page in pages)
    _write(stage / f"debian/{recipe.name}.manpages", names)


def tree_hash(folder: Path) -> str:
    """One hash for a folder: each file's name, whether it is executable, and its content."""
    digest = sha256()
    for path in sorted(folder.rglob("*")):
        if "__pycache__" in path.parts:
            continue
        if path.is_symlink():
            digest.update(f"{path.relative_to(folder)}\0link\0{path.readlink()}\0".encode())
        elif path.is_file():
            is_program = bool(path.stat().st_mode & 0o100)
            content = sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(folder)}\0{is_program}\0{content}\0".encode())
    return digest.hexdigest()


def _copy(root: Path, source: str, target: Path, recipe: Recipe) -> None:
    if (root / source).is_file():
        shutil.copy(root / source, _made(target))
    elif (root / source).is_dir():
        # A folder inside this one that has a place of its own is not installed here as well.
        elsewhere = {Path(other).name for other in recipe.trees if other.startswith(f"{source}/")}
        ignore = shutil.ignore_patterns(*_LEFT_BEHIND, *elsewhere)
        shutil.copytree(root / source, target, ignore=ignore, dirs_exist_ok=True, symlinks=True)
    else:
        raise BuildError(f"{recipe.folder}/debian/build.toml: {source} does not exist")


def _launcher(function: str, recipe: Recipe) -> str:
    """`-I`: neither the caller's folder nor PYTHONPATH decides what root runs.

    Ctrl-C while the imports still run ends it without a traceback, unless nohup(1) or `&` said otherwise.
    """
    module, _, name = function.partition(":")
    path = f'sys.path.append("{recipe.python_private}")\n' if recipe.python_private else ""
    return (
        "#!/usr/bin/python3 -I\n"
        "import signal, sys\n"
        "signal.getsignal(2) is signal.SIG_IGN or signal.signal(2, signal.SIG_DFL)\n"
        f"{path}from {module} import {name}\n"
        f"sys.exit({name}())\n"
    )


def _catalogs(root: Path, recipe: Recipe, stage: Path) -> None:
    """Translations are one domain for the whole product, so the common package carries them."""
    if recipe.name != "blockhost-common":
        return
    for catalog in sorted(root.glob("po/*.po")):
        target = stage / "root/usr/share/locale" / catalog.stem / "LC_MESSAGES/blockhost.mo"
        run(["msgfmt", "--check-format", "-o", _made(target), catalog])


def _man_pages(root: Path, recipe: Recipe) -> list[Path]:
    """Those of the package's commands, as far as somebody has written them."""
    pages = [page for command in recipe.launchers for page in root.glob(f"docs/man/{command}.[1-8].md")]
    return sorted(pages)


def _maintainer(stage: Path) -> str:
    for line in (stage / "debian/control").read_text(encoding="utf-8").splitlines():
        if line.startswith("Maintainer: "):
            return line.removeprefix("Maintainer: ")
    raise BuildError(f"{stage}/debian/control: no Maintainer")


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    _made(path).write_text(text, encoding="utf-8")
    path.chmod(mode)
