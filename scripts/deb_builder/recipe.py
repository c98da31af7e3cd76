"""What a package is made of: `debian/build.toml` beside the usual Debian files.

    python_private = "/usr/lib/blockhost"          # code outside dist-packages, to be byte-compiled
    [trees]                                        # folder or file -> where it lies on the appliance
    "{package}/blockhost" = "/usr/lib/python3/dist-packages/blockhost"
    [launchers]                                    # command -> function
    "blockhost-otp" = "installer.console.otp_cli:main"

A tree is taken whole, whatever its files are called; only tests and caches stay behind.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from blockhost.errors import FieldError
from blockhost.fields import Fields
from deb_builder.errors import BuildError

PLUGIN_KINDS = ("engine", "provisioner")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One package: its name, its folder (relative to the root), what goes into it from where."""

    name: str
    folder: str
    target: str
    trees: Mapping[str, str]
    launchers: Mapping[str, str]
    python_private: str

    @property
    def inputs(self) -> tuple[str, ...]:
        """All paths (relative to the root, as git takes them) whose change makes another package."""
        outside = {source for source in self.trees if not source.startswith(f"{self.folder}/")}
        pages = [f"docs/man/{command}.*" for command in self.launchers]
        return (self.folder, *sorted(outside), *sorted(pages))


def read_recipe(root: Path, folder: str) -> Recipe:
    """Parse one package's `build.toml` and the name in its `control`."""
    file = root / folder / "debian/build.toml"
    try:
        fields = Fields(tomllib.loads(file.read_text(encoding="utf-8")), source=str(file))
        recipe = Recipe(
            name=_name(root / folder / "debian/control"),
            folder=folder,
            target=fields.optional("target", str, "host"),
            trees={source.format(package=folder): target for source, target in _map(fields, "trees").items()},
            launchers=_map(fields, "launchers"),
            python_private=fields.optional("python_private", str, ""),
        )
        fields.refuse_unknown()
    except (tomllib.TOMLDecodeError, FieldError) as error:
        raise BuildError(f"{file}: {error}") from error
    if recipe.target not in {"host", "template"}:
        raise BuildError(f"{file}: target: expected host or template, got {recipe.target!r}")
    return recipe


def find_recipes(root: Path, *, backend: str, engine: str) -> list[Recipe]:
    """The packages of an appliance: the common ones, one engine, one provisioner."""
    folders = sorted(str(path.parent.parent.relative_to(root)) for path in _controls(root))
    wanted = {"engine": engine, "provisioner": backend}
    recipes = []
    for folder in folders:
        kind, _, name = Path(folder).name.partition("-")
        if folder.startswith("plugins/") and kind in PLUGIN_KINDS and name != wanted[kind]:
            continue
        recipes.append(read_recipe(root, folder))
    for kind, name in wanted.items():
        if f"plugins/{kind}-{name}" not in folders:
            known = [
                Path(folder).name.partition("-")[2]
                for folder in folders
                if folder.startswith(f"plugins/{kind}-")
            ]
            raise BuildError(f"no {kind} named {name!r}", hint=f"There are: {', '.join(known) or 'none'}")
    return recipes


def _controls(root: Path) -> list[Path]:
    patterns = ("packages/*/debian/control", "plugins/*/debian/control", "*/debian/control")
    return [path for pattern in patterns for path in root.glob(pattern) if "build" not in path.parts[-4:]]


def _name(control: Path) -> str:
    match = re.search(r"^Package: (\S+)$", control.read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise BuildError(f"{control}: no Package field")
    return match[1]


def _map(fields: Fields, key: str) -> dict[str, str]:
    return fields.string_map(key) if key in fields else {}
