"""`scripts/build-packages.sh`: the appliance's own packages."""

from __future__ import annotations

import argparse
import fcntl
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from blockhost.errors import BlockhostError
from deb_builder.builder import build_package
from deb_builder.recipe import find_recipes

ROOT = Path(__file__).resolve().parents[2]


def main(argv: Sequence[str] | None = None) -> int:
    """Build what changed; print one path per package on stdout, progress on stderr."""
    options = _parser().parse_args(argv)
    try:
        with _alone(options.root):
            _build_all(options)
    except BlockhostError as error:
        print(f"build-packages: {error}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        return 1
    return 0


def _build_all(options: argparse.Namespace) -> None:
    recipes = find_recipes(options.root, backend=options.backend, engine=options.engine)
    keep = {recipe.name for recipe in recipes}
    for number, recipe in enumerate(recipes, start=1):
        start = time.monotonic()
        built = build_package(options.root, recipe)
        took = f"built in {time.monotonic() - start:.1f} s" if built.is_new else "unchanged"
        print(f"[{number}/{len(recipes)}] {built.name} {built.version}: {took}", file=sys.stderr, flush=True)
        print(built.file)
    _forget_others(options.root, keep)


def _forget_others(root: Path, keep: set[str]) -> None:
    """Another engine's package from an earlier build must not reach this image."""
    for target in ("host", "template"):
        for file in (root / "packages" / target).glob("blockhost-*_all.deb"):
            if file.name.partition("_")[0] not in keep:
                file.unlink()


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """One build at a time in one tree."""
    lock = root / "build/debs/.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="build-packages.sh", description=__doc__)
    parser.add_argument("--backend", default="libvirt", help="the provisioner (default: %(default)s)")
    parser.add_argument("--engine", default="local", help="the engine (default: %(default)s)")
    parser.add_argument("--root", type=Path, default=ROOT, help="the tree to build (default: this one)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
