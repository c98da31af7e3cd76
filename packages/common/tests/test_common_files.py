"""The durable write, sealed state, config files, secrets."""

from __future__ import annotations

import json
import os
import pickle
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from blockhost import config, config_files
from blockhost.config_files import HTTPS, TABLE, update_config, write_config
from blockhost.errors import ConfigError, DamagedFile
from blockhost.files import create_once, make_dir, read_json, read_sealed, remove, write_atomic, write_sealed
from blockhost.secret import Redactor, Secret


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_mode_is_right_from_the_first_instant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    """No file, temporary or final, is ever wider than asked for."""
    seen: list[int] = []
    write = os.write

    def spy(descriptor: int, data: bytes) -> int:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", spy)
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "key", "secret", mode=0o640)
    finally:
        os.umask(before)
    assert seen == [0o640]
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o640


def test_sequence_is_write_fsync_rename_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("write", "fsync", "rename"):
        real = getattr(os, name)

        def spy(*args: object, _name: str = name, _real: object = real, **kw: object) -> object:
            calls.append(_name)
            return _real(*args, **kw)  # type: ignore[operator]

        monkeypatch.setattr(os, name, spy)
    write_atomic(tmp_path / "f", "data", mode=0o600)
    assert calls == ["write", "fsync", "rename", "fsync"]


@pytest.mark.parametrize("broken", ["write", "fsync", "rename"])
def test_failed_write_keeps_the_old_file_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    path = tmp_path / "f"
    write_atomic(path, "old", mode=0o600)

    def full(*args: object, **kw: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, broken, full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, "new", mode=0o600)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_symlink_is_replaced_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "link").symlink_to(target)
    write_atomic(tmp_path / "link", "new", mode=0o600)
    assert target.read_text() == "precious"
    assert not (tmp_path / "link").is_symlink()


def test_removing_twice_is_fine(tmp_path: Path) -> None:
    write_atomic(tmp_path / "f", "", mode=0o600)
    remove(tmp_path / "f")
    remove(tmp_path / "f")
    assert not (tmp_path / "f").exists()


def test_directory_mode_is_corrected(tmp_path: Path) -> None:
    make_dir(tmp_path / "a" / "b", mode=0o755)
    make_dir(tmp_path / "a" / "b", mode=0o700)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_garbage_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("{")
    with pytest.raises(DamagedFile, match="not valid JSON") as caught:
        read_json(tmp_path / "f")
    assert str(tmp_path / "f") in caught.value.hint


def test_sealed_state_round_trips(tmp_path: Path) -> None:
    write_sealed(tmp_path / "s", {"a": [1, None, "é"]}, mode=0o600)
    assert read_sealed(tmp_path / "s") == {"a": [1, None, "é"]}


def test_damage_falls_back_to_the_previous_generation_or_is_refused(tmp_path: Path) -> None:
    """Every truncation and every flipped bit: the newest, the one before, or a refusal."""
    path = tmp_path / "s"
    write_sealed(path, {"n": 1}, mode=0o600)
    write_sealed(path, {"n": 2}, mode=0o600)
    whole = path.read_bytes()
    mutants = [whole[:cut] for cut in range(len(whole) - 1)]
    for position in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[position] ^= 1 << bit
            mutants.append(bytes(flipped))
    for mutant in mutants:
        path.write_bytes(mutant)
        assert read_sealed(path) in ({"n": 2}, {"n": 1})
    path.write_bytes(b"{}")
    (tmp_path / "s.previous").write_bytes(b"{}")
    with pytest.raises(DamagedFile, match=r"s: not a sealed file"):
        read_sealed(path)


def test_future_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s"
    write_sealed(path, {}, mode=0o600)
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99}))
    with pytest.raises(DamagedFile, match="unknown schema 99"):
        read_sealed(path)


def test_every_row_is_unique_and_never_world_writable() -> None:
    assert len({row.name for row in TABLE}) == len(TABLE)
    for row in TABLE:
        assert row.mode in (0o640, 0o644)
        assert row.mode == 0o640 or not row.name.endswith(".key")


def test_config_is_written_by_its_row_and_read_back(root: Path) -> None:
    write_config(HTTPS, {"hostname": "h"})
    update_config(HTTPS, {"tls_mode": "local-ca"})
    assert config.load_config("https.json") == {"hostname": "h", "tls_mode": "local-ca"}
    assert stat.S_IMODE(HTTPS.path.stat().st_mode) == 0o644


def test_unchanged_update_writes_nothing(root: Path) -> None:
    write_config(HTTPS, {"hostname": "h"})
    before = HTTPS.path.stat()
    update_config(HTTPS, {"hostname": "h"})
    assert HTTPS.path.stat().st_ino == before.st_ino


def test_broken_config_names_its_file(root: Path) -> None:
    (root / "etc/blockhost/db.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match=r"db\.yaml"):
        config.load_db_config()


def test_missing_config_falls_back_then_says_so(root: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "db.yaml").write_text("bridge: br9")
    assert config.load_db_config(tmp_path / "other") == {"bridge": "br9"}
    with pytest.raises(ConfigError, match="missing"):
        config.load_db_config()
    assert config.load_broker_allocation() is None
    assert config_files.DB.path == root / "etc/blockhost/db.yaml"


def test_secret_does_not_leak_by_itself() -> None:
    secret = Secret("correct horse")
    assert "horse" not in f"{secret} {secret!r} {secret!s:>20}"
    assert secret.reveal() == "correct horse"
    assert secret == Secret("correct horse")
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)


def test_redactor_removes_whole_values_and_lines_of_them() -> None:
    redactor = Redactor([Secret("-----BEGIN-----\nAAAABBBB\n-----END-----"), "abc"])
    assert redactor.redact("x AAAABBBB y abc") == "x [redacted] y abc"


def test_file_is_created_once_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "vms.db"
    before = os.umask(0o077)
    try:
        assert create_once(path, mode=0o640)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.write_text("kept")
    assert not create_once(path, mode=0o600)
    assert path.read_text() == "kept"
    assert [entry.name for entry in tmp_path.iterdir()] == ["vms.db"]


def test_file_of_many_creators_is_one(tmp_path: Path) -> None:
    path = tmp_path / "vms.db"
    with ThreadPoolExecutor(16) as pool:
        made = [*pool.map(lambda _: create_once(path, mode=0o640), range(64))]
    assert made.count(True) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["vms.db"]
