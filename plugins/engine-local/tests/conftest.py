"""A movable root, and real SSH keys made for this run only."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

MESSAGE = "blockhost-access"


@dataclass(frozen=True)
class Key:
    """A key pair on disk and what it can do."""

    file: Path

    @property
    def public(self) -> Path:
        return self.file.with_name(self.file.name + ".pub")

    @property
    def fingerprint(self) -> str:
        """As ssh-keygen prints it, not as our code computes it."""
        done = subprocess.run(["ssh-keygen", "-lf", self.public], capture_output=True, text=True, check=True)
        return done.stdout.split()[1]

    def sign(
        self, message: str = MESSAGE, *, namespace: str = "blockhost", options: tuple[str, ...] = ()
    ) -> str:
        argv = ["ssh-keygen", "-Y", "sign", "-n", namespace, *options, "-f", str(self.file)]
        return subprocess.run(argv, input=message, capture_output=True, text=True, check=True).stdout


KeyMaker = Callable[..., Key]


@pytest.fixture(scope="session")
def make_key(tmp_path_factory: pytest.TempPathFactory) -> KeyMaker:
    """Keys by type and name, each made once; RSA takes a second."""
    folder = tmp_path_factory.mktemp("keys")
    made: dict[tuple[str, str], Key] = {}

    def make(kind: str = "ed25519", name: str = "owner") -> Key:
        if (kind, name) not in made:
            file = folder / f"{kind}-{name}"
            size = ["-b", "2048"] if kind == "rsa" else []
            subprocess.run(
                ["ssh-keygen", "-q", "-t", kind, *size, "-N", "", "-C", "a test", "-f", file], check=True
            )
            made[kind, name] = Key(file)
        return made[kind, name]

    return make


@pytest.fixture
def key(make_key: KeyMaker) -> Key:
    return make_key()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty appliance root."""
    for directory in ("etc/blockhost", "var/lib/blockhost", "run/blockhost", "var/www/blockhost"):
        (tmp_path / directory).mkdir(parents=True)
    monkeypatch.setenv("BLOCKHOST_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def book(root: Path) -> Path:
    """A root with an empty ledger; returns its path."""
    from blockhost.engine_local import ledger

    ledger.create()
    return ledger.path()
