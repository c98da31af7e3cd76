"""Facts about the packages, read from the tree: used by the tests of the package builder."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from blockhost.command import run
from deb_builder.recipe import Recipe, find_recipes

ROOT = Path(__file__).resolve().parents[2]
#: Which Debian package brings a module whose name is not the package's.
PACKAGE_OF = {"yaml": "python3-yaml", "flask_babel": "python3-flask-babel", "babel": "python3-babel"}
OURS = {"blockhost", "installer", "admin", "_common"}


def recipes() -> list[Recipe]:
    return find_recipes(ROOT, backend="libvirt", engine="local")


def foreign_imports(root: Path, recipe: Recipe) -> set[str]:
    """Top-level modules that the package's code imports and Python itself does not bring."""
    found: set[str] = set()
    for source in recipe.trees:
        for file in _python_files(root / source):
            for node in _at_run_time(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    found.add((node.module or "").partition(".")[0])
    return found - OURS - set(sys.stdlib_module_names) - {"__future__"}


def _at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker sees."""
    yield tree
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            yield from _at_run_time(node)


def depends(package: Path) -> set[str]:
    """The names in a package's Depends, all alternatives, without versions."""
    text = run(["dpkg-deb", "--field", package, "Depends"])
    words = text.replace("|", ",").split(",")
    return {word.strip().partition(" ")[0].removesuffix(":any") for word in words}


def _python_files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        for file in path.rglob("*.py"):
            if "tests" not in file.relative_to(path).parts:
                yield file


def programs(recipe: Recipe) -> set[str]:
    """Programs that the package's code runs by a literal name."""
    found: set[str] = set()
    for source in recipe.trees:
        for file in _python_files(ROOT / source):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and _called(node.func) in {"run", "probe", "stream", "start"}:
                    found |= {_first_word(argument) for argument in node.args[:1]}
    return found - {""}


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _first_word(argument: ast.expr) -> str:
    """`ip` of `["ip", "-j"]`; nothing where the name is computed."""
    if isinstance(argument, ast.List) and argument.elts and isinstance(argument.elts[0], ast.Constant):
        return str(argument.elts[0].value)
    return ""
