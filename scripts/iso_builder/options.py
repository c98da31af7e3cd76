"""The builder's command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from iso_builder import suite
from iso_builder.version import REPOSITORY

BACKENDS = ("libvirt",)
ENGINES = ("local",)
METHODS = ("regular", "lvm")


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    backend: str
    engine: str
    testing: bool
    build_deb: bool
    suite: str
    method: str
    answers: Path | None
    ssh_key: Path | None
    output: Path | None
    build_dir: Path
    cache_dir: Path


def parse(argv: Sequence[str] | None = None) -> Options:
    """Read the command line; exits with a message on a wrong one."""
    parser = argparse.ArgumentParser(
        prog="build-iso.sh", description="Build the installer ISO from Debian's packages and ours."
    )
    parser.add_argument("--backend", choices=BACKENDS, required=True, help="the provisioner plugin")
    parser.add_argument("--engine", choices=ENGINES, required=True, help="the engine plugin")
    parser.add_argument(
        "--testing", action="store_true",
        help="mark the appliance as a test machine, log to the serial line, and let a generated SSH key in",
    )  # fmt: skip
    parser.add_argument("--build-deb", action="store_true", help="build our packages first")
    parser.add_argument("--suite", choices=sorted(suite.SUITES), default=suite.DEFAULT, help="Debian release")
    parser.add_argument(
        "--answers", type=Path, metavar="FILE", help="setup answers that the appliance carries"
    )
    parser.add_argument("--ssh-key", type=Path, metavar="FILE", help="public key that may log in as root")
    parser.add_argument(
        "--method",
        choices=METHODS,
        default="regular",
        help="partitioning that the boot menu starts by itself",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: build/blockhost_<version>.iso")
    parser.add_argument("--build-dir", type=Path, default=REPOSITORY / "build", help=argparse.SUPPRESS)
    found = parser.parse_args(argv)
    cache = os.environ.get("BLOCKHOST_BUILD_CACHE")
    return Options(
        backend=found.backend,
        engine=found.engine,
        testing=found.testing,
        build_deb=found.build_deb,
        suite=found.suite,
        method=found.method,
        answers=found.answers,
        ssh_key=found.ssh_key,
        output=found.output,
        build_dir=found.build_dir.resolve(),
        cache_dir=Path(cache).resolve() if cache else found.build_dir.resolve() / "cache",
    )
