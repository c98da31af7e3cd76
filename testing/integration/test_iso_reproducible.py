"""Two builds of one commit give the same ISO, whoever builds, wherever, and whenever.

Debian's part (base image, VM template) is taken from the cache here, as it takes minutes;
docs/how-to/build-an-iso.md says how to compare builds from nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from blockhost.command import run
from iso_builder.keys import digest_file

pytestmark = [pytest.mark.nspawn, pytest.mark.timeout(1800)]

TOP = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("BLOCKHOST_BUILD_CACHE", TOP / "build/cache"))
FOREIGN = {"TZ": "Pacific/Auckland", "LANG": "de_DE.UTF-8", "HOME": "/nonexistent", "USER": "someone"}


@pytest.fixture
def second_cache() -> Iterator[Path]:
    """A cache elsewhere (on the same file system: results are linked into the ISO's tree)."""
    place = CACHE.with_name(f"cache-{os.getpid()}")
    place.mkdir(parents=True)
    yield place
    shutil.rmtree(place)


def checkout(target: Path) -> Path:
    """The commit that is to be built, with our packages as they are now."""
    run(["git", "clone", "-q", TOP, target])
    for package in (TOP / "packages/host").glob("*.deb"):
        (target / "packages/host").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(package, target / "packages/host" / package.name)
    return target


def build(tree: Path, key: Path, *, umask: str, env: Mapping[str, str]) -> Path:
    target = tree / "built.iso"
    options = ["--backend", "libvirt", "--engine", "local", "--testing", "--ssh-key", key, "--output", target]
    command = [tree / "scripts/build-iso.sh", *options]
    run(["sh", "-c", 'umask "$0"; exec "$@"', umask, *command], env=env, cwd=tree, timeout=1500)
    return target


def test_two_builds_are_identical(tmp_path: Path, second_cache: Path) -> None:
    key = tmp_path / "key.pub"
    key.write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHRlc3RzIG9ubHksIG5vdCBhIHJlYWwga2V5ISE= nobody\n")
    # One checkout, moved: packages and commit are the same however busy the tree is.
    one = checkout(tmp_path / "one")
    first = build(one, key, umask="022", env={"BLOCKHOST_BUILD_CACHE": str(CACHE)})
    digest = digest_file(first)
    two = one.rename(tmp_path / "another-place")
    for stage in ("base", "template", "udebs"):
        for result in CACHE.glob(f"{stage}-*-*"):
            if result.is_dir():
                (second_cache / result.name).symlink_to(result)
    again = build(two, key, umask="077", env={**FOREIGN, "BLOCKHOST_BUILD_CACHE": str(second_cache)})
    made_again = {path.name.split("-")[0] for path in second_cache.iterdir() if not path.is_symlink()}
    assert {"own", "initrd"} <= made_again
    assert digest_file(again) == digest
