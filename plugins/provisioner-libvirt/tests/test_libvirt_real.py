"""The whole path on a real libvirt and QEMU: finalization's steps, agent, commands."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from blockhost import paths
from blockhost.config import load_db_config
from blockhost.pipeline.context import StepContext
from blockhost.provisioner_libvirt.cli import create, destroy, kill, start, status
from blockhost.provisioner_libvirt.cli import list as listing
from blockhost.provisioner_libvirt.steps import STEPS
from blockhost.provisioner_libvirt.virsh import has_volume, states, virsh


def finalize(host: Any) -> None:
    for step in STEPS:
        context = StepContext(step_id=step.id, config={"provisioner": host.answers})
        step.apply(context)
        assert step.check is not None
        assert step.check(context), step.id


@pytest.fixture
def appliance(host: Any, libvirt: None, agent: Any) -> Any:
    finalize(host)
    return host


def output(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def make(name: str, *more: str) -> int:
    return create.main(
        [
            name,
            "--owner-wallet",
            "0x" + "1" * 40,
            "--memory",
            "128",
            "--disk",
            "1",
            "--wait",
            "0",
            "--apply",
            *more,
        ]
    )


@pytest.mark.timeout(180)
def test_machine_lives_and_leaves_nothing(appliance: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert make("blockhost-001", "--nft-token-id", "7") == 0
    answer = json.loads(output(capsys))
    assert answer == {
        "status": "ok",
        "vm_name": "blockhost-001",
        "ip": "192.0.2.100",
        "ipv6": None,
        "vmid": 100,
        "nft_token_id": 7,
        "username": "user",
    }
    assert states() == {"blockhost-001": "running"}
    status.main(["blockhost-001"])
    assert output(capsys) == "active\n"

    assert kill.main(["blockhost-001"]) == 0
    status.main(["blockhost-001"])
    assert output(capsys) == "suspended\n"
    assert start.main(["blockhost-001"]) == 0
    listing.main(["--format", "json"])
    assert [(row["name"], row["status"], row["ip"]) for row in json.loads(output(capsys))] == [
        ("blockhost-001", "active", "192.0.2.100")
    ]

    assert destroy.main(["blockhost-001"]) == 0
    assert destroy.main(["blockhost-001"]) == 0
    status.main(["blockhost-001"])
    assert output(capsys) == "destroyed\n"
    assert states() == {}
    assert not has_volume("blockhost", "blockhost-001.qcow2")
    assert not has_volume("blockhost", "blockhost-001-seed.iso")
    assert make("blockhost-001") == 0  # the name and the address are free again
    assert json.loads(output(capsys))["ip"] == "192.0.2.100"


@pytest.mark.timeout(180)
def test_disk_is_an_overlay_and_seed_is_readable(
    appliance: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert make("blockhost-002") == 0
    pool = paths.at(appliance.answers["storage_path"])
    done = subprocess.run(
        ["qemu-img", "info", "-U", "--output=json", str(pool / "blockhost-002.qcow2")],
        capture_output=True, check=True,
    )  # fmt: skip
    facts = json.loads(done.stdout)
    assert facts["virtual-size"] == 1024**3
    assert facts["backing-filename"] == str(pool / load_db_config()["template_volume"])
    subprocess.run(
        ["xorriso", "-osirrox", "on", "-indev", str(pool / "blockhost-002-seed.iso"),
         "-extract", "/", str(tmp_path / "seed")],
        check=True, capture_output=True,
    )  # fmt: skip
    network = (tmp_path / "seed/network-config").read_text()
    mac = next(line.split()[1].strip("'\"") for line in network.splitlines() if "macaddress" in line)
    assert f"<mac address='{mac}'/>" in virsh("dumpxml", "--domain", "blockhost-002")
    assert "192.0.2.100/24" in network
    assert "gecos: wallet=0x" in (tmp_path / "seed/user-data").read_text()


@pytest.mark.timeout(180)
def test_failed_create_takes_everything_back(
    appliance: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # QEMU cannot start without its bridge: the last of all effects fails.
    subprocess.run(["sed", "-i", "s/br0/br9/", str(paths.config_dir() / "db.yaml")], check=True)
    assert make("blockhost-003") == 1
    assert "blockhost-vm-create: " in capsys.readouterr().err
    assert states() == {}
    assert not has_volume("blockhost", "blockhost-003.qcow2")
    assert not has_volume("blockhost", "blockhost-003-seed.iso")
    subprocess.run(["sed", "-i", "s/br9/br0/", str(paths.config_dir() / "db.yaml")], check=True)
    assert make("blockhost-003") == 0
    assert json.loads(output(capsys))["ip"] == "192.0.2.100"


@pytest.mark.timeout(180)
def test_steps_may_run_again(appliance: Any) -> None:
    before = (paths.config_dir() / "db.yaml").read_bytes()
    finalize(appliance)
    assert (paths.config_dir() / "db.yaml").read_bytes() == before
