"""The agent's log: every change of it is found, and a power cut is survived."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from blockhost.errors import DamagedFile
from blockhost.root_agent import audit
from blockhost.root_agent.audit import AuditLog, verify


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "agent.log"
    log = AuditLog(path)
    for number in range(6):
        log.append({"phase": "call", "action": "a", "params": {"n": number}}, is_durable=True)
    log.close()
    return path


def test_whole_log_verifies(written: Path) -> None:
    verdict = verify(written)
    assert (verdict.count, verdict.head.sequence, verdict.problem) == (6, 6, "")
    assert verify(written, head=verdict.head.hash).problem == ""
    assert written.stat().st_mode & 0o777 == 0o600


def test_every_flipped_byte_is_found(written: Path) -> None:
    good = written.read_bytes()
    lines = [index for index, byte in enumerate(good) if byte == 0x0A]
    for index in range(len(good)):
        changed = bytearray(good)
        changed[index] ^= 0x01
        written.write_bytes(changed)
        verdict = verify(written)
        assert verdict.problem, index
        assert verdict.count <= sum(end < index for end in lines)


def test_removed_swapped_and_repeated_lines_are_found(written: Path) -> None:
    lines = written.read_bytes().splitlines(keepends=True)
    for changed in (
        lines[1:],
        lines[:2] + lines[3:],
        [lines[1], lines[0], *lines[2:]],
        [*lines, lines[-1]],
        [lines[0], *lines],
    ):  # fmt: skip
        written.write_bytes(b"".join(changed))
        assert verify(written).problem


def test_resealed_line_breaks_the_chain(written: Path) -> None:
    lines = written.read_bytes().splitlines(keepends=True)
    start = lines[2].decode().partition(',"hash"')[0].replace('"n":2', '"n":99')
    assert '"n":99' in start
    written.write_bytes(b"".join([*lines[:2], audit._sealed(start)[0], *lines[3:]]))
    assert verify(written).problem == "agent.log: line 4 does not follow line 3"


def test_cut_off_end_is_found_by_a_noted_head(written: Path) -> None:
    head = verify(written).head.hash
    lines = written.read_bytes().splitlines(keepends=True)
    written.write_bytes(b"".join(lines[:-1]))
    assert verify(written).problem == ""
    assert "cut off" in verify(written, head=head).problem


def test_torn_last_line_is_dropped_and_noted(written: Path) -> None:
    whole = written.read_bytes()
    for cut in (1, 40, len(whole.splitlines()[-1])):
        written.write_bytes(whole[:-cut])
        log = AuditLog(written)
        log.append({"phase": "call"}, is_durable=False)
        log.close()
        verdict = verify(written)
        assert verdict.problem == ""
        assert b'"phase":"recovered"' in written.read_bytes()
        assert verdict.head.sequence == 7


def test_restart_continues_the_chain(written: Path) -> None:
    log = AuditLog(written)
    log.append({"phase": "call"}, is_durable=False)
    assert log.head.sequence == 7
    log.close()
    assert verify(written).count == 7


def test_damaged_end_stops_the_agent(written: Path) -> None:
    written.write_bytes(written.read_bytes()[:-10] + b"xxxxxxxxx\n")
    with pytest.raises(DamagedFile, match="last line is damaged"):
        AuditLog(written)


def test_rotation_keeps_the_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "ROTATE_BYTES", 600)
    path = tmp_path / "agent.log"
    log = AuditLog(path)
    for number in range(20):
        log.append({"phase": "call", "n": number}, is_durable=False)
    head = log.head
    log.close()
    before = tmp_path / "agent.log.1"
    assert before.exists()
    verdict = verify(path)
    assert verdict.problem == ""
    assert verdict.head == head
    # What is in the file before counts: a log whose beginning was cut away does not fit to it.
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    assert verify(path).problem == "agent.log: line 1 does not follow the end of agent.log.1"
    before.unlink()
    assert "beginning is missing" in verify(path).problem


def test_failed_write_leaves_no_half_line(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog(written)

    def write(file: int, data: bytes) -> None:
        os.write(file, data[:20])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(audit, "_write_all", write)
        with pytest.raises(OSError, match="No space left"):
            log.append({"phase": "call"}, is_durable=True)
    log.append({"phase": "call"}, is_durable=True)
    log.close()
    assert verify(written).problem == ""
    assert verify(written).count == 7


def test_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "agent.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        AuditLog(tmp_path / "agent.log")
    assert not (tmp_path / "elsewhere").exists()
