"""A movable root for every test of the common library."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty appliance root."""
    for directory in ("etc/blockhost", "var/lib/blockhost", "run/blockhost", "usr/share/blockhost"):
        (tmp_path / directory).mkdir(parents=True)
    monkeypatch.setenv("BLOCKHOST_ROOT", str(tmp_path))
    return tmp_path
