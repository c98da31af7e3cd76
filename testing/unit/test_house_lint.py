"""Each linter is a test: silence passes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def tracked(*patterns: str) -> list[str]:
    """Files of the project: known to git, or new and not ignored."""
    argv = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    names = subprocess.run(argv, cwd=TOP, check=True, capture_output=True, text=True).stdout.splitlines()
    return sorted({name for name in names if (TOP / name).is_file()})


def shell_scripts() -> list[str]:
    """By suffix, or by the first line of an executable without one."""
    scripts = []
    for name in tracked():
        path = TOP / name
        if name.endswith(".sh"):
            scripts.append(name)
        elif not path.suffix and os.access(path, os.X_OK):
            first = path.read_bytes().partition(b"\n")[0]
            if first.startswith(b"#!") and first.split()[0].endswith(b"sh"):
                scripts.append(name)
    return scripts


def passes(*argv: str, timeout: float = 300) -> None:
    done = subprocess.run(argv, cwd=TOP, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is not installed: scripts/check-build-deps.sh --install"
    return found


def test_ruff_finds_nothing() -> None:
    passes(str(BIN / "ruff"), "check", ".")


def test_ruff_would_format_nothing() -> None:
    passes(str(BIN / "ruff"), "format", "--check", ".")


@pytest.mark.timeout(400)
def test_types_are_complete() -> None:
    areas = ["packages/common/blockhost", "installer", "admin"]
    plugins = ["plugins/engine-local/blockhost", "plugins/provisioner-libvirt/blockhost"]
    scripts = ["scripts/iso_builder", "scripts/deb_builder"]
    passes(str(BIN / "mypy"), *areas, *plugins, *scripts, timeout=400)


def test_shell_scripts_are_sound() -> None:
    scripts = shell_scripts()
    assert scripts
    passes(program("shellcheck"), "--severity=style", *scripts)


def test_spelling() -> None:
    words = "ser,nd,te,fo,ba,wan,iif,bu,keypair,smalll"
    skip = "*.lock,*.svg,*.png,*.min.js,*.po,axe*"
    passes(
        program("codespell"),
        f"--ignore-words-list={words}",
        f"--skip={skip}",
        *tracked("*.py", "*.md", "*.sh"),
    )


def test_no_key_and_no_package_host_in_the_tree() -> None:
    """Credentials are made per run; mirrors come from the build machine."""
    banned = [
        "BEGIN OPENSSH " + "PRIVATE KEY",
        "BEGIN " + "PRIVATE KEY",
        "BEGIN RSA " + "PRIVATE KEY",
        "deb." + "debian.org",
        "security." + "debian.org",
        "pypi." + "org",
        "registry." + "npmjs",
        "/wor" + "k/",
    ]
    found = []
    for name in tracked():
        text = (TOP / name).read_bytes()
        found += [f"{name}: {word}" for word in banned if word.encode() in text]
    assert not found
