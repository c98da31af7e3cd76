"""A movable root for every test of the common library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

Main = Callable[[Sequence[str]], int]
#: Words of a command line to its exit code, stdout and stderr.
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty appliance root."""
    for directory in ("etc/blockhost", "var/lib/blockhost", "run/blockhost", "usr/share/blockhost"):
        (tmp_path / directory).mkdir(parents=True)
    monkeypatch.setenv("BLOCKHOST_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def runs(capsys: pytest.CaptureFixture[str]) -> Callable[[Main], Run]:
    """Makes a command's `main` callable as a shell calls it; a traceback fails the test."""

    def runs(main: Main) -> Run:
        def run(*words: str) -> tuple[int, str, str]:
            try:
                code = main(list(words))
            except SystemExit as stop:
                code = int(stop.code or 0)
            captured = capsys.readouterr()
            assert "Traceback" not in captured.err
            return code, captured.out, captured.err

        return run

    return runs
