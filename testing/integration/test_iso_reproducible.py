"""Two builds of one commit give the same ISO, whoever builds, wherever, and whenever.

Debian's part (base image, VM template) is taken from the cache here, as it takes minutes;
docs/how-to/build-an-iso.md says how to compare builds from nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
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
    """A cache elsewhere that knows Debian's part and nothing of ours."""
    place = CACHE.with_name(f"cache-{os.getpid()}")
    place.mkdir(parents=True)
    yield place
    shutil.rmtree(place)


def build(tmp_path: Path, name: str, umask: int, env: dict[str, str]) -> Path:
    target = tmp_path / name
    key = tmp_path / "key.pub"
    key.write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHRlc3RzIG9ubHksIG5vdCBhIHJlYWwga2V5ISE= nobody\n")
    options = ["--backend", "libvirt", "--engine", "local", "--testing", "--ssh-key", key, "--output", target]
    script = 'umask "$0"; exec "$@"'
    run(
        ["sh", "-c", script, f"{umask:03o}", TOP / "scripts/build-iso.sh", *options],
        env=env,
        cwd=tmp_path,
        timeout=1500,
    )
    return target


def test_two_builds_are_identical(tmp_path: Path, second_cache: Path) -> None:
    first = build(tmp_path, "first.iso", 0o022, {})
    for stage in ("base", "template", "udebs"):
        for result in CACHE.glob(f"{stage}-*-*"):
            if result.is_dir():
                (second_cache / result.name).symlink_to(result)
    second = build(tmp_path, "second.iso", 0o077, {**FOREIGN, "BLOCKHOST_BUILD_CACHE": str(second_cache)})
    made_again = {path.name.split("-")[0] for path in second_cache.iterdir() if not path.is_symlink()}
    assert {"own", "initrd"} <= made_again
    assert digest_file(first) == digest_file(second)
