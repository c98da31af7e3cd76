"""Building one package: lay it out, compare with the last time, let debhelper do the rest."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import sha256
from pathlib import Path

from blockhost.command import probe, run
from blockhost.errors import DamagedFile
from blockhost.files import read_json, write_json
from deb_builder import layout, version
from deb_builder.errors import BuildError
from deb_builder.recipe import Recipe

BUILD_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Built:
    """One package file, and whether this call made it."""

    name: str
    version: str
    file: Path
    is_new: bool


def build_package(root: Path, recipe: Recipe) -> Built:
    """The package's .deb in `packages/<target>/`, built only when its inputs changed.

    Raises:
        BuildError: the recipe does not fit the tree, or debhelper refuses.
    """
    work = root / "build/debs" / recipe.name
    stage = work / "stage"
    content = layout.lay_out(root, recipe, stage)
    found = version.state(root, recipe.inputs)
    number = version.package_version(root, found, content)
    key = sha256(f"{content} {number} {found.epoch} {_tools()}".encode()).hexdigest()
    output = root / "packages" / recipe.target / f"{recipe.name}_{number}_all.deb"
    if _is_built(work / "built.json", key, output):
        return Built(recipe.name, number, output, is_new=False)
    date = format_datetime(datetime.fromtimestamp(found.epoch, UTC))
    layout.add_version(recipe, stage, number, found.epoch, date)
    made = _debhelper(recipe, stage, number, found.epoch)
    _replace(made, output, recipe)
    write_json(work / "built.json", {"key": key, "sha256": _digest(output)}, mode=0o644)
    return Built(recipe.name, number, output, is_new=True)


def _debhelper(recipe: Recipe, stage: Path, number: str, epoch: int) -> Path:
    done = probe(
        # Its check would ask for a C compiler, which packages of Python never use; what is really
        # needed, check-build-deps.sh installs.
        ["dpkg-buildpackage", "--build=binary", "--no-sign", "--no-pre-clean", "--no-check-builddeps"],
        cwd=stage,
        env={"SOURCE_DATE_EPOCH": str(epoch), "DEB_BUILD_OPTIONS": "nocheck", "TZ": "UTC"},
        timeout=BUILD_TIMEOUT_S,
    )
    log = stage.parent / "build.log"
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.code != 0:
        raise BuildError(f"{recipe.name}: {_last_words(done.stderr or done.stdout)}", hint=f"See {log}")
    return stage.parent / f"{recipe.name}_{number}_all.deb"


def _replace(made: Path, output: Path, recipe: Recipe) -> None:
    """One file a package: older versions would otherwise end up in the image as well."""
    output.parent.mkdir(parents=True, exist_ok=True)
    for old in output.parent.glob(f"{recipe.name}_*_all.deb"):
        old.unlink()
    shutil.move(made, output)
    output.chmod(0o644)


def _is_built(stamp: Path, key: str, output: Path) -> bool:
    try:
        before = read_json(stamp)
    except (FileNotFoundError, DamagedFile):
        return False
    return output.is_file() and before == {"key": key, "sha256": _digest(output)}


def _tools() -> str:
    """The builder itself is an input, and so are the Debian tools that it drives."""
    programs = run(["dpkg-query", "-W", "-f", "${Package}=${Version} ", "debhelper", "dpkg-dev", "dh-python"])
    return layout.tree_hash(Path(__file__).parent) + programs


def _digest(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()


def _last_words(text: str) -> str:
    lines = [line for line in text.splitlines() if "error" in line.lower()] or text.splitlines()[-1:] or ["?"]
    return lines[0]
