"""The dispatcher: the manifest's commands, by verb, and nothing by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from blockhost.errors import BlockhostError, CommandFailed
from blockhost.provisioner import get_provisioner

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
