"""The whole path on a real libvirt and QEMU: finalization's steps, agent, commands."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from blockhost import paths
from blockhost.config import load_db_config
from blockhost.pipeline.context import StepContext
from blockhost.provisioner_libvirt.cli import create, destroy, kill, metrics, start, status, throttle
from blockhost.provisioner_libvirt.cli import list as listing
from blockhost.provisioner_libvirt.steps import STEPS
from blockhost.provisioner_libvirt.virsh import has_volume, states, virsh
from testing.vms.private_libvirt import CPU_TREE, PrivateLibvirt


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


def ruleset(daemon: PrivateLibvirt) -> str:
    return daemon.run(["nft", "list", "ruleset"])


@pytest.mark.timeout(180)
def test_limits_reach_libvirt_and_the_port(
    appliance: Any, libvirt_daemon: PrivateLibvirt, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make("blockhost-004", "--cpu", "2") == 0
    words = ["--iops-read", "100", "--iops-write", "50", "--bandwidth-in", "800", "--bandwidth-out", "1600"]
    has_cpu = CPU_TREE.exists()
    if has_cpu:
        words += ["--cpu-quota", "50", "--cpu-shares", "512"]
    assert throttle.main(["blockhost-004", *words]) == 0
    xml = virsh("dumpxml", "--domain", "blockhost-004")
    assert "<read_iops_sec>100</read_iops_sec>" in xml
    assert 'kbps-in="800"' in xml
    rules = ruleset(libvirt_daemon)
    assert "limit rate over 100000 bytes/second" in rules
    assert "limit rate over 200000 bytes/second" in rules
    if has_cpu:
        live = virsh("schedinfo", "--domain", "blockhost-004", "--live")
        assert re.search(r"cpu_shares\s*: 512", live)
        assert re.search(r"global_quota\s*: 100000", live)
    # They last: the definition has them, and so has the filter of the next start.
    assert kill.main(["blockhost-004"]) == 0
    assert "limit rate" not in ruleset(libvirt_daemon)
    assert start.main(["blockhost-004"]) == 0
    assert "limit rate over 100000 bytes/second" in ruleset(libvirt_daemon)
    assert throttle.main(["blockhost-004", "--reset"]) == 0
    assert "limit rate" not in ruleset(libvirt_daemon)
    xml = virsh("dumpxml", "--domain", "blockhost-004")
    assert "iops_sec" not in xml
    assert "kbps" not in xml
    if has_cpu:
        assert not re.search(
            r"global_quota\s*: [1-9][0-9]{0,6}\b", virsh("schedinfo", "--domain", "blockhost-004")
        )


@pytest.mark.timeout(180)
def test_host_that_boots_starts_what_ran_with_its_filter(
    appliance: Any, libvirt_daemon: PrivateLibvirt, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make("blockhost-005") == 0
    assert make("blockhost-006") == 0
    assert kill.main(["blockhost-006"]) == 0
    libvirt_daemon.restart_libvirtd()
    wait_for_state("blockhost-005", "running")
    libvirt_daemon.power_cut()
    libvirt_daemon.run(["nft", "flush", "ruleset"])
    libvirt_daemon.start_libvirtd()
    wait_for_state("blockhost-005", "running")
    assert states()["blockhost-006"] == "shut off"
    rules = ruleset(libvirt_daemon)
    assert "ip saddr != 192.0.2.100 drop" in rules
    assert "192.0.2.101" not in rules


@pytest.mark.timeout(180)
def test_machine_without_its_filter_is_not_left_running(
    appliance: Any, libvirt_daemon: PrivateLibvirt, capsys: pytest.CaptureFixture[str]
) -> None:
    hook = libvirt_daemon.directory / "etc/libvirt/hooks/qemu.d/blockhost"
    kept = hook.read_text()
    try:
        hook.write_text("#!/bin/sh\nexit 0\n")
        assert make("blockhost-007") == 1
        assert "had no filter on its port" in capsys.readouterr().err
        assert states() == {}
        hook.write_text("#!/bin/sh\nexit 1\n")
        assert make("blockhost-007") == 1
        assert states() == {}
    finally:
        hook.write_text(kept)
    assert make("blockhost-007") == 0


def wait_for_state(name: str, wanted: str) -> None:
    deadline = time.monotonic() + 60
    while (said := states().get(name)) != wanted:
        assert time.monotonic() < deadline, said
        time.sleep(0.1)


@pytest.mark.timeout(180)
def test_counters_of_a_machine_without_a_guest(appliance: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert make("blockhost-008") == 0
    output(capsys)
    assert metrics.main(["blockhost-008"]) == 0
    found = json.loads(output(capsys))
    assert found["state"] == "running"
    assert found["guest_agent_responsive"] is False
    assert (found["uptime_seconds"], found["net_connections"], found["disk_used_mb"]) == (-1, -1, -1)
    assert found["disk_total_mb"] == 1024
    assert found["memory_total_mb"] == 128
    assert 0 <= found["cpu_percent"] <= 100
