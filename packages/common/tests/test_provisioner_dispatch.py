"""The dispatcher: the manifest's commands, by verb, and nothing by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from blockhost.command import Completed
from blockhost.errors import BlockhostError, CommandFailed
from blockhost.provisioner import failure, get_provisioner

MANIFEST = Path(__file__).parents[3] / "plugins/provisioner-libvirt/provisioner.json"


def test_without_a_provisioner_nothing_is_loaded(root: Path) -> None:
    provisioner = get_provisioner()
    assert not provisioner.is_loaded
    with pytest.raises(BlockhostError, match=r"provisioner\.json"):
        provisioner.get_command("create")


def test_commands_come_from_the_manifest(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(MANIFEST, root / "usr/share/blockhost/provisioner.json")
    provisioner = get_provisioner()
    assert provisioner.is_loaded
    assert (provisioner.name, provisioner.session_key) == ("libvirt", "libvirt")
    assert provisioner.get_command("create") == "blockhost-vm-create"
    with pytest.raises(BlockhostError, match="has no command for explode"):
        provisioner.get_command("explode")
    with pytest.raises(CommandFailed, match="not found"):
        provisioner.run("status", ["x"])
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "blockhost-vm-status").write_text('#!/bin/sh\necho "$@"\nexit 3\n')
    (programs / "blockhost-vm-status").chmod(0o755)
    monkeypatch.setenv("BLOCKHOST_PATH", f"{programs}:/usr/bin:/bin")
    done = provisioner.run("status", ["a b", "--x"])
    assert (done.code, done.stdout) == (3, "a b --x\n")


@pytest.mark.parametrize(
    ("stderr", "reason", "hint"),
    [
        ("x: it is gone\n", "x: it is gone", ""),
        ("x: it is gone\n  look there\n", "x: it is gone", "look there"),
        ("x: a warning\nx: it is gone\n  look there\n\n  or here\n", "x: it is gone", "look there or here"),
        ("", "start: exit code 7", ""),
        ("  only a hint\n", "start: exit code 7", "only a hint"),
    ],
)
def test_reason_of_a_failure_is_its_last_line_and_the_hint_behind_it(
    stderr: str, reason: str, hint: str
) -> None:
    error = failure("start", Completed(7, "", stderr))
    assert (str(error), error.hint) == (reason, hint)
