"""Expiry, limits, owners, programs in guests and figures, against a recorded libvirt."""

from __future__ import annotations

import datetime
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from blockhost import paths
from blockhost.pipeline.context import StepContext
from blockhost.provisioner_libvirt import metrics as figures
from blockhost.provisioner_libvirt import owner
from blockhost.provisioner_libvirt.cli import (
    create,
    gc,
    guest_exec,
    metrics,
    resume,
    start,
    status,
    throttle,
    update_gecos,
)
from blockhost.provisioner_libvirt.cli import list as listing
from blockhost.provisioner_libvirt.ssh_keys import parse_keys
from blockhost.provisioner_libvirt.steps import STEPS
from blockhost.vm_db import Status, get_database
from testing.fakes.clocks import Clocks

OWNER = "SHA256:" + "a" * 43
YEARS = 10 * 365 * 86_400
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPY5O3kRq9nyyz3vKjnsXrKJqo0hBBuqsBWAMWeJUTHf"
Text = pytest.CaptureFixture[str]


@pytest.fixture
def appliance(host: Any, agent: Any) -> Any:
    for step in STEPS:
        step.apply(StepContext(step_id=step.id, config={"provisioner": host.answers}))
    return host


def make(name: str, *more: str) -> None:
    assert create.main([name, "--owner-wallet", OWNER, "--apply", *more]) == 0


def age(name: str, **columns: int) -> None:
    """Move times of a record into the past, by days."""
    with sqlite3.connect(paths.at("/var/lib/blockhost/vms.db")) as database:
        for column, days in columns.items():
            moment = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)
            database.execute(
                f"UPDATE vms SET {column} = ? WHERE vm_name = ?",
                (moment.isoformat(timespec="seconds"), name),
            )
    database.close()


def state(name: str, capsys: Text) -> str:
    capsys.readouterr()
    status.main([name])
    return capsys.readouterr().out.strip()


def test_expired_machine_sleeps_wakes_and_ends(appliance: Any, capsys: Text) -> None:
    make("vm1")
    make("vm2")
    age("vm1", expires_at=1)
    capsys.readouterr()
    assert gc.main([]) == 0
    assert capsys.readouterr().out.startswith("would suspend vm1 (since ")
    assert state("vm1", capsys) == "active"
    assert gc.main(["--execute", "--destroy-only"]) == 0
    assert state("vm1", capsys) == "active"

    assert gc.main(["--execute"]) == 0
    assert capsys.readouterr().out == "suspend vm1: done\n"
    assert (state("vm1", capsys), state("vm2", capsys)) == ("suspended", "active")
    assert start.main(["vm1"]) == 1
    for words in (["vm1"], ["vm1", "--dry-run"]):
        assert resume.main(words) == 1
        assert "vm1 has expired" in capsys.readouterr().err
    assert resume.main(["vm1", "--extend-days", "3", "--dry-run"]) == 0
    assert state("vm1", capsys) == "suspended"
    assert resume.main(["vm1", "--extend-days", "3"]) == 0
    assert state("vm1", capsys) == "active"

    age("vm1", expires_at=1)
    assert gc.main(["--execute"]) == 0
    age("vm1", suspended_at=6)
    assert gc.main(["--execute"]) == 0
    assert state("vm1", capsys) == "suspended"
    assert gc.main(["--execute", "--suspend-only", "--grace-days", "6"]) == 0
    assert state("vm1", capsys) == "suspended"
    assert gc.main(["--execute", "--grace-days", "6"]) == 0
    assert (state("vm1", capsys), state("vm2", capsys)) == ("destroyed", "active")


def test_machine_that_cannot_wake_keeps_its_end(
    appliance: Any, capsys: Text, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever tries again must not give the days twice."""
    make("vm1")
    get_database().mark_suspended("vm1")
    before = get_database().get_vm("vm1")
    paths.at("/run/blockhost/root-agent.sock").rename(paths.at("/run/blockhost/away.sock"))
    assert resume.main(["vm1", "--extend-days", "3"]) == 1
    assert get_database().get_vm("vm1") == before
    paths.at("/run/blockhost/away.sock").rename(paths.at("/run/blockhost/root-agent.sock"))
    assert resume.main(["vm1", "--extend-days", "3"]) == 0
    assert get_database().get_vm("vm1") != before


def test_suspension_that_was_cut_short_is_finished(appliance: Any, capsys: Text) -> None:
    make("vm1")
    age("vm1", expires_at=1)
    get_database().mark_suspended("vm1")
    assert state("vm1", capsys) == "active"
    assert gc.main(["--execute"]) == 0
    assert state("vm1", capsys) == "suspended"


def test_gc_frees_what_an_interrupted_creation_holds(appliance: Any, capsys: Text) -> None:
    get_database().reserve_vm("vm9")
    assert gc.main(["--execute"]) == 0
    assert capsys.readouterr().out == "destroy vm9: done\n"
    assert get_database().allocate_ip() == "192.0.2.100"


def test_clock_that_jumps_ends_nothing(appliance: Any, capsys: Text, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten years ahead, ten years back, and what is really over waits until the clock is known."""
    clocks = Clocks.install(monkeypatch)
    make("vm1", "--expiry-days", "30")
    make("vm2", "--expiry-days", "300")
    assert gc.main(["--execute"]) == 0
    for jump in (YEARS, -2 * YEARS, YEARS):
        clocks.jump(jump)
        clocks.restart()
        capsys.readouterr()
        assert gc.main(["--execute"]) == 0
        captured = capsys.readouterr()
        assert captured.out == ""
        assert ("cannot be relied on" in captured.err) == (jump != YEARS or clocks.boot == 2)
    clocks.restart(off_s=31 * 86_400)
    get_database().reserve_vm("vm9")
    clocks.sleep(3600)
    assert gc.main(["--execute"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "destroy vm9: done\n"  # no clock says so
    assert "blockhost-clock trust" in captured.err
    assert resume.main(["vm1", "--extend-days", "3"]) == 1
    assert "cannot be relied on" in capsys.readouterr().err
    clocks.sleep(30 * 86_400)
    assert gc.main([]) == 0
    assert "would suspend vm1" in capsys.readouterr().out
    assert gc.main(["--execute"]) == 1
    assert capsys.readouterr().out == "suspend vm1: waits until the clock can be relied on\n"
    assert (state("vm1", capsys), state("vm2", capsys)) == ("active", "active")

    clocks.is_synchronised = True
    assert gc.main(["--execute"]) == 0
    assert capsys.readouterr() == ("suspend vm1: done\n", "")
    clocks.sleep(8 * 86_400)
    clocks.is_synchronised = False
    clocks.jump(YEARS)
    assert gc.main(["--execute"]) == 1
    assert capsys.readouterr().out == "destroy vm1: waits until the clock can be relied on\n"
    clocks.jump(-YEARS)
    assert gc.main(["--execute"]) == 0
    assert (state("vm1", capsys), state("vm2", capsys)) == ("destroyed", "active")


@pytest.mark.parametrize("words", [["--suspend-only", "--destroy-only"], ["--grace-days", "-1"]])
def test_gc_refuses_nonsense(words: list[str], capsys: Text, host: Any) -> None:
    assert gc.main(words) == 1
    assert capsys.readouterr().out == ""


def test_mock_commands_touch_nothing(capsys: Text) -> None:
    assert gc.main(["--mock", "--execute"]) == 0
    assert resume.main(["vm1", "--mock", "--extend-days", "1"]) == 0


def limits(host: Any) -> dict[str, str]:
    facts = json.loads((host.root / "var/lib/fake-programs/virsh.json").read_text())
    return facts["domains"]["vm1"]["limits"]  # type: ignore[no-any-return]


def test_throttle_tells_libvirt_and_reset_takes_all_away(appliance: Any, capsys: Text) -> None:
    make("vm1", "--cpu", "2")
    capsys.readouterr()
    words = ["--cpu-quota", "50", "--bandwidth-out", "8000", "--iops-read", "100"]
    assert throttle.main(["vm1", *words]) == 0
    assert capsys.readouterr().out == "cpu-quota: 50 %\nbandwidth-out: 8000 kbps\niops-read: 100\n"
    assert limits(appliance) == {
        "global_period": "100000",
        "global_quota": "100000",
        "read_iops_sec": "100",
    }
    rules = (appliance.root / "var/log/fake-programs.jsonl").read_text()
    assert "limit rate over 1000000 bytes/second" in rules
    assert throttle.main(["vm1", "--reset"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
    assert limits(appliance)["global_quota"] == "-1"
    assert limits(appliance)["read_iops_sec"] == "0"
    last = [line for line in rules.splitlines() if "ether saddr" in line]
    after = (appliance.root / "var/log/fake-programs.jsonl").read_text().splitlines()
    assert "limit rate" not in [line for line in after if "ether saddr" in line][-1]
    assert last


@pytest.mark.parametrize("words", [["--cpu-quota", "101"], ["--iops-read", "-1"], []])
def test_throttle_refuses_nonsense(appliance: Any, words: list[str], capsys: Text) -> None:
    make("vm1")
    assert throttle.main(["vm1", *words]) == 1
    assert capsys.readouterr().err


def test_owner_changes_in_the_guest(appliance: Any, tmp_path: Path, capsys: Text) -> None:
    make("vm1")
    keys = tmp_path / "keys"
    keys.write_text(f"# new owner\n{KEY} somebody@somewhere\n")
    capsys.readouterr()
    assert update_gecos.main(["vm1", OWNER, "--nft-id", "7", "--ssh-keys", str(keys)]) == 0
    assert capsys.readouterr().out == f"vm1: user belongs to {OWNER}\n"
    asked = [argv[argv.index("--cmd") + 1] for argv in appliance.ledger if "qemu-agent-command" in argv]
    said = [json.loads(text) for text in asked]
    (change,) = [item for item in said if item["execute"] == "guest-ssh-add-authorized-keys"]
    assert change["arguments"] == {"username": "user", "keys": [KEY], "reset": True}
    programs = [item["arguments"] for item in said if item["execute"] == "guest-exec"]
    assert programs[-1]["path"] == "usermod"
    assert programs[-1]["arg"] == ["--comment", f"wallet=SHA256-{'a' * 43},nft=7", "user"]
    record = get_database().get_vm("vm1")
    assert record is not None
    assert record["gecos_synced"]


@pytest.mark.parametrize("wallet", ["x", "0x12,nft=1", "-x", "SHA256:" + "a" * 42, "0x" + "1" * 40 + "\n"])
def test_owner_that_is_none_is_refused(appliance: Any, wallet: str) -> None:
    make("vm1")
    try:
        assert update_gecos.main(["vm1", wallet, "--nft-id", "7"]) == 1
    except SystemExit as usage:
        assert usage.code == 2
    assert not [argv for argv in appliance.ledger if "usermod" in " ".join(argv)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssh-ed25519 xxxx",
        f'command="rm" {KEY}',
        KEY.replace("ssh-ed25519", "ssh-rsa"),
        f"{KEY} a\x00b",
        f"{KEY}\n" * 17,
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    from blockhost.errors import BlockhostError

    with pytest.raises(BlockhostError):
        parse_keys(text, "keys")


@pytest.mark.parametrize(
    ("passwd", "user"),
    [
        ("root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh", "ann"),
        ("ann:x:1000:1000::/home/ann:/bin/sh\nuser:x:1001:1001:wallet=0x1,nft=2:/h:/bin/sh", "user"),
        ("-x:x:1000:1000:wallet=1:/h:/bin/sh\nann:x:1001:1001::/h:/bin/sh", "ann"),
    ],
)
def test_owners_account_is_found_by_its_wallet(passwd: str, user: str) -> None:
    assert owner.owner_account(passwd) == user


def test_program_in_the_guest_gives_its_code_and_output(appliance: Any, capfdbinary: Any) -> None:
    make("vm1")
    capfdbinary.readouterr()
    assert guest_exec.main(["vm1", "cat", "/etc/passwd"]) == 0
    assert capfdbinary.readouterr().out.startswith(b"user:x:1000:1000:wallet=")
    assert guest_exec.main(["vm1", "--", "cat", "/etc/passwd"]) == 0
    assert guest_exec.main(["vm2", "true"]) == 255


def test_silent_guest_costs_its_own_figures_only(appliance: Any, capsys: Text) -> None:
    make("vm1")
    make("vm2")
    file = appliance.root / "var/lib/fake-programs/virsh.json"
    facts = json.loads(file.read_text())
    facts["domains"]["vm2"]["silent"] = True
    file.write_text(json.dumps(facts))
    capsys.readouterr()
    assert listing.main(["--format", "json", "--metrics"]) == 0
    one, two = (row["metrics"] for row in json.loads(capsys.readouterr().out))
    assert set(one) == set(two) == {
        "cpu_percent", "cpu_count", "memory_used_mb", "memory_total_mb", "disk_used_mb", "disk_total_mb",
        "disk_read_iops", "disk_write_iops", "disk_read_bytes_sec", "disk_write_bytes_sec",
        "net_rx_bytes_sec", "net_tx_bytes_sec", "net_connections", "guest_agent_responsive",
        "uptime_seconds", "state",
    }  # fmt: skip
    assert (one["guest_agent_responsive"], one["disk_used_mb"], one["disk_total_mb"]) == (True, 512, 2048)
    assert (two["guest_agent_responsive"], two["disk_used_mb"], two["uptime_seconds"]) == (False, -1, -1)
    assert two["state"] == "running"
    assert metrics.main(["vm2"]) == 0
    assert metrics.main(["vm3"]) == 1


def test_rates_come_from_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter(
        [
            {"vm": {"state.state": "5", "block.0.rd.bytes": "0"}},
            {"vm": {"state.state": "5", "block.0.rd.bytes": "4096"}},
        ]
    )
    monkeypatch.setattr(figures, "domain_stats", lambda names: next(looks))
    times = iter([10.0, 12.0])
    sampler = figures.Sampler(clock=lambda: next(times))
    figures.metrics(["vm"], sampler)
    assert figures.metrics(["vm"], sampler)["vm"]["disk_read_bytes_sec"] == 2048


def test_guest_that_never_answers_is_taken_back(appliance: Any, capsys: Text) -> None:
    real = (appliance.root.parent / "programs" / "virsh").exists()
    assert not real
    wrapper = appliance.root.parent / "programs" / "virsh"
    fake = Path(__file__).resolve().parents[3] / "testing/fakes/bin/virsh"
    # The guest agent's channel is there, and nobody answers on it.
    wrapper.write_text(
        "#!/bin/sh\n"
        f'if [ $# = 3 ]; then cat >/dev/null; echo "error: Guest agent is not responding" >&2; exit 0; fi\n'
        f'exec {fake} "$@"\n'
    )
    wrapper.chmod(0o755)
    assert create.main(["vm1", "--owner-wallet", OWNER, "--apply", "--wait", "0.1"]) == 1
    captured = capsys.readouterr()
    assert "did not answer within 0.1 s" in captured.err
    assert captured.out == ""
    assert get_database().list_vms() == []
    assert get_database().list_vms(Status.CREATING) == []
