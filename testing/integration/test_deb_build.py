"""The packages as files: the same bytes every time, only what belongs in them, and honest about needs."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from blockhost.command import probe, run
from deb_builder.recipe import Recipe
from iso_builder.apt import PrivateApt
from iso_builder.progress import Progress
from testing.integration import deb_tree
from testing.integration.debian_root import PLACE

# Twenty packages get built in here, and other suites may be using the machine.
pytestmark = pytest.mark.timeout(900)

SUITES = ("bookworm", "trixie")


def snapshot(target: Path) -> Path:
    """This tree with its commits, as it is now: others may be writing in it."""
    ignore = shutil.ignore_patterns("build", ".venv", "*.deb", ".*_cache", "__pycache__", ".hypothesis")
    shutil.copytree(deb_tree.ROOT, target, ignore=ignore, symlinks=True)
    return target


def build(tree: Path, *, umask: int = 0o022, **env: str) -> tuple[dict[str, str], str]:
    """Build in `tree` with its own builder; the hash of each package, and what it said."""
    done = subprocess.run(
        [tree / "scripts/build-packages.sh"],
        capture_output=True, text=True, umask=umask, timeout=300, env={**os.environ, **env}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    files = [Path(line) for line in done.stdout.splitlines()]
    return {file.name: sha256(file.read_bytes()).hexdigest() for file in files}, done.stderr


def rebuilt(report: str) -> set[str]:
    return {line.split()[1] for line in report.splitlines() if "built in" in line}


@pytest.fixture(scope="module")
def built_tree(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    tree = snapshot(tmp_path_factory.mktemp("first") / "tree")
    return tree, build(tree)[0]


@pytest.fixture(scope="module")
def packages(built_tree: tuple[Path, dict[str, str]]) -> list[Path]:
    tree, built = built_tree
    return [tree / "packages/host" / name for name in built]


def package_of(recipe: Recipe, packages: list[Path]) -> Path:
    return next(file for file in packages if file.name.startswith(f"{recipe.name}_"))


def test_two_builds_are_identical(built_tree: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    """Another path, umask, time zone and locale, and the pyenv trap on PATH."""
    tree, first = built_tree
    other = tmp_path / "somewhere else"
    ignore = shutil.ignore_patterns("build", "*.deb")
    shutil.copytree(tree, other, symlinks=True, ignore=ignore)
    trap = tmp_path / "bin"
    trap.mkdir()
    (trap / "python3").write_text("#!/bin/sh\nexit 9\n")
    (trap / "python3").chmod(0o755)
    second, _ = build(
        other, umask=0o077, TZ="Pacific/Auckland", LC_ALL="C", PATH=f"{trap}:{os.environ['PATH']}"
    )
    assert len(first) == len(deb_tree.recipes())
    assert second == first


def test_only_what_changed_is_built(built_tree: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    tree, first = built_tree
    assert rebuilt(build(tree)[1]) == set()
    (tree / "NOTES.md").write_text("no package holds this\n")
    assert rebuilt(build(tree)[1]) == set()
    unit = tree / "systemd/blockhost-admin.service"
    before = unit.read_text()
    unit.write_text(before + "# one more line\n")
    after, report = build(tree)
    unit.write_text(before)
    assert rebuilt(report) == {"blockhost-admin"}
    assert len(set(after) - set(first)) == 1
    assert build(tree)[0] == first


def test_a_damaged_package_is_built_again(built_tree: tuple[Path, dict[str, str]]) -> None:
    tree, first = built_tree
    name = next(iter(first))
    (tree / "packages/host" / name).write_bytes(b"half of it")
    assert build(tree)[0] == first


def test_a_misspelt_recipe_names_file_and_key(built_tree: tuple[Path, dict[str, str]]) -> None:
    tree, _ = built_tree
    file = tree / "admin/debian/build.toml"
    before = file.read_text()
    file.write_text(before.replace("[trees]", "[treess]"))
    done = probe([tree / "scripts/build-packages.sh"])
    file.write_text(before)
    assert done.code == 1
    assert "admin/debian/build.toml" in done.stderr
    assert "treess" in done.stderr


def test_an_unknown_engine_is_refused(built_tree: tuple[Path, dict[str, str]]) -> None:
    done = probe([built_tree[0] / "scripts/build-packages.sh", "--engine", "nonesuch"])
    assert done.code == 1
    assert "There are: local" in done.stderr


EACH = pytest.mark.parametrize("recipe", deb_tree.recipes(), ids=lambda recipe: recipe.name)


@EACH
def test_lintian_finds_no_error(recipe: Recipe, packages: list[Path]) -> None:
    file = package_of(recipe, packages)
    done = probe(["lintian", "--fail-on", "error", "--allow-root", file], timeout=120)
    assert done.code == 0, done.stdout


def test_lintian_does_look(tmp_path: Path) -> None:
    """The control: a package with an obvious error is refused by the same call."""
    top = tmp_path / "bad"
    (top / "DEBIAN").mkdir(parents=True)
    (top / "DEBIAN/control").write_text("Package: bad\nVersion: 1\nArchitecture: all\nDescription: bad\n")
    (top / "usr/local/bin").mkdir(parents=True)
    (top / "usr/local/bin/bad").write_text("#!/bin/sh\n")
    run(["dpkg-deb", "--build", top])
    assert (
        probe(["lintian", "--fail-on", "error", "--allow-root", tmp_path / "bad.deb"], timeout=60).code != 0
    )


def test_packages_hold_no_tests_and_no_byte_code(packages: list[Path]) -> None:
    for package in packages:
        names = [line.split()[5] for line in run(["dpkg-deb", "--contents", package]).splitlines()]
        assert len(names) > 5
        assert [name for name in names if "/tests/" in name or name.endswith((".pyc", ".po"))] == []
        assert "./usr/lib/python3/dist-packages/blockhost/__init__.py" not in names


@EACH
def test_every_command_brings_its_manual_page(recipe: Recipe, packages: list[Path]) -> None:
    listed = run(["dpkg-deb", "--contents", package_of(recipe, packages)])
    absent = [
        name
        for name in recipe.launchers
        if not re.search(rf"/usr/share/man/man[18]/{name}\.[18]\.gz", listed)
    ]
    assert absent == []


def test_every_python_file_of_the_tree_is_in_its_package(
    built_tree: tuple[Path, dict[str, str]], packages: list[Path]
) -> None:
    """Nothing is left behind by directory rules that somebody's new folder does not meet."""
    listed = "\n".join(run(["dpkg-deb", "--contents", package]) for package in packages)
    missing = []
    for recipe in deb_tree.recipes():
        for source, target in recipe.trees.items():
            top = built_tree[0] / source
            for file in top.rglob("*.py") if top.is_dir() else []:
                inside = file.relative_to(top)
                if "tests" in inside.parts or "root-agent-actions" in inside.parts:
                    continue
                if f" .{target}/{inside}" not in listed:
                    missing.append(str(file))
    assert missing == []


@EACH
def test_launchers_name_functions_that_exist(recipe: Recipe, built_tree: tuple[Path, dict[str, str]]) -> None:
    absent, root = [], built_tree[0]
    for command, target in recipe.launchers.items():
        module, _, function = target.partition(":")
        tops = [root, *(root / source / ".." for source in recipe.trees)]
        files = [top / f"{module.replace('.', '/')}{end}" for top in tops for end in (".py", "/__init__.py")]
        file = next((file for file in files if file.is_file()), None)
        if file is None or not defines(file, function):
            absent.append(f"{command}: {target}")
    assert absent == []


def defines(file: Path, function: str) -> bool:
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return True
        if isinstance(node, ast.ImportFrom) and function in {
            alias.asname or alias.name for alias in node.names
        }:
            return True
    return False


@EACH
def test_what_the_code_imports_is_depended_on(
    recipe: Recipe, built_tree: tuple[Path, dict[str, str]], packages: list[Path]
) -> None:
    declared = deb_tree.depends(package_of(recipe, packages))
    imported = deb_tree.foreign_imports(built_tree[0], recipe)
    needed = {deb_tree.PACKAGE_OF.get(module, f"python3-{module}") for module in imported}
    assert sorted(needed - declared) == []


@pytest.mark.parametrize("suite", SUITES)
def test_what_is_depended_on_exists_in_debian(suite: str, packages: list[Path]) -> None:
    apt = PrivateApt(PLACE / f"apt-{suite}", suite)
    apt.update(Progress())
    names = {name for package in packages for name in deb_tree.depends(package)}
    names -= {name for name in names if name.startswith("blockhost-")} | {"systemd-sysusers"}
    assert len(names) > 15
    assert len(apt.versions(sorted(names))) == len(names)


def test_one_engine_and_one_provisioner(packages: list[Path]) -> None:
    for kind in ("engine", "provisioner"):
        file = next(file for file in packages if file.name.startswith(f"blockhost-{kind}-"))
        for field in ("Provides", "Conflicts"):
            assert f"blockhost-{kind}" in run(["dpkg-deb", "--field", file, field]).replace(",", " ").split()
