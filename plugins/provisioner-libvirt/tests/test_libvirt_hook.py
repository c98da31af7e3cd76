"""The first-boot hook: safe to repeat, and loud when libvirt does not answer."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
HOOK = REPOSITORY / "plugins/provisioner-libvirt/hooks/first-boot.sh"
BROKEN = "#!/bin/sh\necho 'error: failed to connect to the hypervisor' >&2\nexit 1\n"


def run_hook(host: Any) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(
        str(REPOSITORY / part) for part in ("packages/common", "plugins/provisioner-libvirt")
    )
    return subprocess.run(
        [str(HOOK)],
        env={
            "PATH": os.environ["BLOCKHOST_PATH"],
            "PYTHONPATH": path,
            "BLOCKHOST_ROOT": str(host.root),
            "STATE_DIR": str(host.root / "var/lib/blockhost"),
            "LOG_FILE": str(host.root / "var/log/first-boot.log"),
        },
        capture_output=True,
        text=True,
    )


def test_sockets_are_enabled_and_the_hook_may_run_again(host: Any) -> None:
    first = run_hook(host)
    assert first.returncode == 0, first.stderr
    assert ["enable", "--now", "libvirtd.socket"] in host.ledger
    assert (host.root / "var/lib/blockhost/.step-libvirt-first-boot").exists()
    before = len(host.ledger)
    assert run_hook(host).returncode == 0
    assert not [argv for argv in host.ledger[before:] if "enable" in argv]


def test_libvirt_that_does_not_answer_stops_first_boot(host: Any, tmp_path: Path) -> None:
    (tmp_path / "programs/virsh").write_text(BROKEN)
    (tmp_path / "programs/virsh").chmod(0o755)
    done = run_hook(host)
    assert done.returncode == 1
    assert "libvirt does not answer" in done.stderr
    assert "failed to connect" in (host.root / "var/log/first-boot.log").read_text()
    assert not (host.root / "var/lib/blockhost/.step-libvirt-first-boot").exists()
    (tmp_path / "programs/virsh").unlink()
    assert run_hook(host).returncode == 0


def test_hook_needs_its_environment() -> None:
    done = subprocess.run([str(HOOK)], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
    assert done.returncode != 0
    assert "STATE_DIR" in done.stderr


@pytest.mark.skipif(not Path("/dev/kvm").exists(), reason="no KVM device here: nothing to hide")
def test_dead_kvm_is_hidden_and_a_working_one_is_not(host: Any) -> None:
    from blockhost.provisioner_libvirt import kvm

    assert run_hook(host).returncode == 0
    dropin = host.root / "etc/systemd/system/libvirtd.service.d/blockhost-no-kvm.conf"
    assert dropin.exists() is not kvm.probe().usable
