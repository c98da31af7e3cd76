"""Machines and packages for the tests marked `nspawn`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from blockhost.command import run
from testing.integration import debian_root
from testing.integration.nspawn import CGROUP_TREES, MACHINES, Appliance

ROOT = Path(__file__).resolve().parents[2]
POOL = "/mnt/pool"
ALL = ("blockhost-admin", "blockhost-engine-local", "blockhost-installer", "blockhost-provisioner-libvirt")


@pytest.fixture(scope="session", autouse=True)
def _no_machine_outlives_us() -> Iterator[None]:
    yield
    mine = f"{os.getpid()}-*"
    groups = [group for tree in CGROUP_TREES for group in tree.glob(f"blockhost-test-{mine}")]
    assert [*MACHINES.glob(mine), *groups] == []


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Our packages, built from this tree; copies, since the next build in it replaces them."""
    out = run([ROOT / "scripts/build-packages.sh"], timeout=600)
    target = tmp_path_factory.mktemp("packages")
    return [Path(shutil.copy(line, target)) for line in out.splitlines()]


@pytest.fixture(scope="session")
def package_pool(packages: list[Path]) -> Path:
    """Our packages and what they need, as a source for apt."""
    debian_root.bare_root()
    return debian_root.pool(packages)


@pytest.fixture(scope="session")
def installed_layers(package_pool: Path) -> Iterator[list[Path]]:
    """A bare Debian after `apt-get install` of all our packages, without a network."""
    target = debian_root.PLACE / f"installed-{os.getpid()}"
    with bare_machine(package_pool) as machine:
        install(machine, *ALL)
        layers = machine.keep(target)
    yield layers
    run(["rm", "-rf", target])


@pytest.fixture(scope="session")
def appliance_root() -> list[Path]:
    """The root file system that the ISO carries; `BLOCKHOST_ROOTFS` names one that is unpacked already.

    Folders laid over each other are separated by colons, the first on top.
    """
    if given := os.environ.get("BLOCKHOST_ROOTFS"):
        return [Path(layer) for layer in given.split(":")]
    return [Path(run([ROOT / "scripts/rootfs.sh"], timeout=3600).split()[-1])]


def bare_machine(pool: Path) -> AbstractContextManager[Appliance]:
    """A bare Debian that can install from the pool, and from nowhere else."""
    files = {
        "/etc/apt/sources.list": f"deb [trusted=yes] file:{POOL} ./\n",
        "/etc/apt/apt.conf.d/99pool": 'APT::Install-Recommends "false";\n',
    }
    return Appliance.boot(debian_root.bare_root(), binds={pool: POOL}, files=files)


def install(machine: Appliance, *names: str) -> str:
    machine.run(["apt-get", "-q", "update"], timeout=60)
    return machine.run(["apt-get", "-q", "-y", "install", *names], timeout=600)


def boot_installed(layers: list[Path], **options: Any) -> AbstractContextManager[Appliance]:
    """The installed packages after a boot in which no setup begins."""
    return Appliance.boot(layers, without=["blockhost-firstboot.service"], **options)
