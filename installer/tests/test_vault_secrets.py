"""The vault: durable, root's alone, and whole after a kill at any point."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
import time
from pathlib import Path

import pytest

from blockhost import command, files
from blockhost.errors import BlockhostError, DamagedFile
from installer.vault import MAX_SECRETS, Vault

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "setup" / "vault.json")


def test_keeps_and_gives(vault: Vault, tmp_path: Path) -> None:
    vault.keep("admin_signature", "line one\nline two")
    vault.keep("deployer_key", "0xabc")
    again = Vault(tmp_path / "setup" / "vault.json")
    assert again.names() == ["admin_signature", "deployer_key"]
    assert again.get("admin_signature").reveal() == "line one\nline two"
    assert "line one" not in repr(again.get("admin_signature"))


def test_modes_are_right_under_a_careless_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Vault(tmp_path / "setup" / "vault.json").keep("a", "secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "setup").stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "setup").iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_the_default_place_is_below_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKHOST_ROOT", str(tmp_path))
    Vault().keep("a", "secret")
    assert (tmp_path / "var/lib/blockhost-setup/vault.json").exists()


@pytest.mark.parametrize("name", ["", "A", "../x", "a b", "$secret", "a" * 65, "a\n"])
def test_bad_names_are_refused(vault: Vault, name: str) -> None:
    with pytest.raises(BlockhostError, match="name of a secret"):
        vault.keep(name, "hunter2")


@pytest.mark.parametrize("value", ["", "x" * (64 * 1024 + 1)])
def test_bad_values_are_refused_unseen(vault: Vault, value: str) -> None:
    with pytest.raises(BlockhostError) as caught:
        vault.keep("a", value)
    assert "xxx" not in str(caught.value)
    assert vault.names() == []


def test_it_does_not_grow_for_ever(vault: Vault) -> None:
    for number in range(MAX_SECRETS):
        vault.keep(f"s{number}", "value")
    with pytest.raises(BlockhostError, match="full"):
        vault.keep("one_more", "value")
    vault.keep("s0", "another value")


def test_a_missing_secret_is_named(vault: Vault) -> None:
    with pytest.raises(BlockhostError, match="'deployer_key'"):
        vault.get("deployer_key")


def test_placeholders_are_filled_in(vault: Vault) -> None:
    vault.keep("k", "value")
    document = {"a": [{"$secret": "k"}], "b": {"$secret": "k", "more": 1}, "c": 3}
    assert vault.resolve(document) == {"a": ["value"], "b": {"$secret": "k", "more": 1}, "c": 3}
    with pytest.raises(BlockhostError, match="'x'"):
        vault.resolve({"$secret": "x"})


def test_wipe_leaves_no_generation(vault: Vault, tmp_path: Path) -> None:
    vault.keep("a", "hunter2-one")
    vault.keep("a", "hunter2-two")
    vault.wipe()
    vault.wipe()
    assert vault.names() == []
    left = b"".join(path.read_bytes() for path in (tmp_path / "setup").iterdir())
    assert b"hunter2" not in left


@pytest.mark.parametrize("at", range(0, 400, 7))
def test_a_flipped_byte_is_never_believed(vault: Vault, tmp_path: Path, at: int) -> None:
    vault.keep("a", "first value")
    vault.keep("a", "second value")
    path = tmp_path / "setup" / "vault.json"
    raw = bytearray(path.read_bytes())
    raw[at % len(raw)] ^= 0x01
    path.write_bytes(raw)
    assert vault.get("a").reveal() in ("first value", "second value")


def test_two_damaged_generations_are_refused(vault: Vault, tmp_path: Path) -> None:
    vault.keep("a", "first value")
    vault.keep("a", "second value")
    for path in (tmp_path / "setup").glob("vault.json*"):
        path.write_text("{}")
    with pytest.raises(DamagedFile) as caught:
        vault.names()
    assert "reset" in caught.value.hint


def test_many_keepers_lose_nothing(vault: Vault) -> None:
    threads = [threading.Thread(target=vault.keep, args=(f"s{n}", f"value {n}")) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert vault.names() == sorted(f"s{n}" for n in range(24))


KEEPER = """
import sys
from pathlib import Path
from installer.vault import Vault
vault = Vault(Path(sys.argv[1]))
for number in range(100000):
    vault.keep("counter", f"value {number}")
    print(number, flush=True)
"""


@pytest.mark.parametrize("acknowledged", [1, 3, 8, 20, 45])
def test_a_kill_keeps_what_was_acknowledged(tmp_path: Path, acknowledged: int) -> None:
    path = tmp_path / "vault.json"
    process = command.start(
        [sys.executable, "-c", KEEPER, path],
        stdout=-1,
        env={"PYTHONPATH": f"{ROOT / 'packages/common'}:{ROOT}"},
    )
    assert process.stdout is not None
    try:
        last = -1
        while last < acknowledged:
            last = int(process.stdout.readline())
        time.sleep(0.0003 * acknowledged)  # not a wait: it moves the kill around inside the write
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
    last = int(rest[-1]) if rest else last
    kept = int(Vault(path).get("counter").reveal().removeprefix("value "))
    assert kept in (last, last + 1)


def test_every_failed_write_leaves_the_vault_as_it_was(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.keep("a", "old value")

    def full(descriptor: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "write", full)
    with pytest.raises(OSError, match="No space"):
        vault.keep("a", "new value")
    monkeypatch.undo()
    assert vault.get("a").reveal() == "old value"
