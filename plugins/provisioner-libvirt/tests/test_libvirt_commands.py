"""Commands against a recorded libvirt behind the real agent: transactions, refusals, output."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from blockhost import paths, root_agent
from blockhost.errors import RootAgentError
from blockhost.pipeline.context import StepContext
from blockhost.provisioner_libvirt.cli import create, destroy, detect, kill, start, status, stop
from blockhost.provisioner_libvirt.cli import list as listing
from blockhost.provisioner_libvirt.domain import Domain
from blockhost.provisioner_libvirt.port import Port
from blockhost.provisioner_libvirt.steps import STEPS
from blockhost.vm_db import Status, get_database

OWNER = "SHA256:" + "a" * 43
REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def appliance(host: Any, agent: Any) -> Any:
    for step in STEPS:
        step.apply(StepContext(step_id=step.id, config={"provisioner": host.answers}))
    return host


def make(name: str, *more: str) -> int:
    return create.main([name, "--owner-wallet", OWNER, "--apply", *more])


def volumes(host: Any) -> set[str]:
    pool = paths.at(host.answers["storage_path"])
    return {file.name for file in pool.iterdir() if not file.name.startswith("blockhost-template-")}


def domains() -> dict[str, str]:
    return root_agent.call("virsh-list")["domains"]  # type: ignore[no-any-return]


def test_dry_run_creates_nothing(appliance: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert create.main(["vm1", "--owner-wallet", OWNER]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "dry-run"
    assert get_database().list_vms() == []
    assert domains() == {}
    get_database().register_vm("vm1", 100, "192.0.2.110")
    assert create.main(["vm1", "--owner-wallet", OWNER]) == 1
    assert "exists already" in capsys.readouterr().err


def test_mock_touches_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert make("vm1", "--mock") == 0
    assert json.loads(capsys.readouterr().out)["ip"] == "192.0.2.10"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Vm"], "is not a VM name"),
        (["a" * 65], "is not a VM name"),
        (["vm", "--cpu", "0"], "--cpu: expected 1 to 64, got 0"),
        (["vm", "--memory", "0"], "--memory"),
        (["vm", "--disk", "99999"], "--disk"),
        (["vm", "--cloud-init-content", "/nonexistent"], "No such file"),
        (["vm", "--owner-wallet", "me, myself"], "--owner-wallet: expected 0x"),
    ],
)
def test_create_refuses_nonsense(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], host: Any
) -> None:
    assert create.main([arguments[0], "--owner-wallet", OWNER, *arguments[1:]]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_name_that_exists_is_refused(appliance: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert make("vm1") == 0
    capsys.readouterr()
    assert make("vm1") == 1
    assert "a VM named vm1 exists already" in capsys.readouterr().err
    assert domains() == {"vm1": "running"}
    assert volumes(appliance) == {"vm1.qcow2", "vm1-seed.iso"}


def test_own_user_data_names_the_login(
    appliance: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = tmp_path / "user-data"
    content.write_text("#cloud-config\nusers: [{name: ann}]\n")
    assert make("vm1", "--cloud-init-content", str(content)) == 0
    assert json.loads(capsys.readouterr().out)["username"] == "ann"


@pytest.mark.parametrize("broken", ["vm-disk-create", "vm-seed-write", "virsh-define", "virsh-start"])
def test_failure_at_any_effect_takes_everything_back(
    appliance: Any, broken: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = root_agent.call

    def call(action: str, timeout: float = 300, **params: Any) -> dict[str, Any]:
        answer = real(action, timeout, **params)
        if action == broken:  # the effect happened, and then something failed
            raise RootAgentError(f"{broken} broke")
        return answer

    monkeypatch.setattr(root_agent, "call", call)
    assert make("vm1") == 1
    captured = capsys.readouterr()
    assert f"{broken} broke" in captured.err
    assert captured.out == ""
    monkeypatch.undo()
    for name, value in (("BLOCKHOST_ROOT", str(appliance.root)),):
        monkeypatch.setenv(name, value)
    assert domains() == {}
    assert volumes(appliance) == set()
    database = get_database()
    assert database.list_vms() == []
    assert database.allocate_ip() == "192.0.2.100"


KILLER = """
import signal
for ignored in (signal.SIGINT, signal.SIGHUP):  # under nohup(1), or behind `&`
    signal.signal(ignored, signal.SIG_DFL)
import os, signal, sys
from blockhost import root_agent
real = root_agent.call
def call(action, timeout=300, **params):
    answer = real(action, timeout, **params)
    if action == sys.argv[1]:
        os.kill(os.getpid(), signal.Signals[sys.argv[2]])
    return answer
root_agent.call = call
from blockhost.provisioner_libvirt.cli.create import main
raise SystemExit(main(["vm1", "--owner-wallet", "SHA256:" + "a" * 43, "--apply"]))
"""


def killed_create(action: str, signal_name: str) -> int:
    path = os.pathsep.join(
        str(REPOSITORY / part) for part in ("packages/common", "plugins/provisioner-libvirt")
    )
    done = subprocess.run(
        [sys.executable, "-c", KILLER, action, signal_name],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "", done.stderr
    return done.returncode


@pytest.mark.parametrize("action", ["vm-disk-create", "vm-seed-write", "virsh-define", "virsh-start"])
def test_next_create_removes_what_a_kill_left(
    appliance: Any, action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert killed_create(action, "SIGKILL") == -signal.SIGKILL
    listing.main(["--format", "json"])
    assert json.loads(capsys.readouterr().out)[0]["status"] == "unknown"
    assert start.main(["vm1"]) == 1
    assert make("vm1") == 0
    assert json.loads(capsys.readouterr().out)["ip"] == "192.0.2.100"
    assert domains() == {"vm1": "running"}


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_signal_takes_everything_back(appliance: Any, name: str) -> None:
    assert killed_create("virsh-define", name) == 128 + signal.Signals[name]
    assert domains() == {}
    assert volumes(appliance) == set()
    assert get_database().list_vms() == []


def test_destroy_removes_what_a_kill_left(appliance: Any) -> None:
    killed_create("virsh-define", "SIGKILL")
    assert destroy.main(["vm1"]) == 0
    assert domains() == {}
    assert volumes(appliance) == set()


def test_twenty_creates_at_once_get_different_addresses(appliance: Any) -> None:
    path = os.pathsep.join(
        str(REPOSITORY / part) for part in ("packages/common", "plugins/provisioner-libvirt")
    )
    command = [sys.executable, "-m", "blockhost.provisioner_libvirt.cli.create"]
    running = [
        subprocess.Popen(
            [*command, f"vm{number}", "--owner-wallet", OWNER, "--apply"],
            env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE,
        )
        for number in range(20)
    ]  # fmt: skip
    answers = [json.loads(process.communicate()[0]) for process in running]
    assert len({answer["ip"] for answer in answers}) == 20
    assert len({answer["vmid"] for answer in answers}) == 20
    assert len(domains()) == 20
    assert len(get_database().list_vms(Status.ACTIVE)) == 20


def test_power_and_status(appliance: Any, capsys: pytest.CaptureFixture[str]) -> None:
    make("vm1")
    capsys.readouterr()
    for command, expected in (
        (stop, "suspended"),
        (start, "active"),
        (kill, "suspended"),
        (kill, "suspended"),
    ):
        assert command.main(["vm1"]) == 0
        assert status.main(["vm1"]) == 0
        assert capsys.readouterr().out == f"{expected}\n"
    for name in ("nothing", "--x", "A B"):
        with contextlib.suppress(SystemExit):  # argparse, for what looks like an option
            assert status.main([name]) == 0
            assert capsys.readouterr().out == "unknown\n"
    assert kill.main(["nothing"]) == 1
    assert "no VM named nothing" in capsys.readouterr().err


def test_list_is_tab_separated(appliance: Any, capsys: pytest.CaptureFixture[str]) -> None:
    make("vm1")
    capsys.readouterr()
    assert listing.main([]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header == "NAME\tSTATUS\tIP\tCREATED"
    assert row.split("\t")[:3] == ["vm1", "active", "192.0.2.100"]


def test_destroyed_machine_frees_its_name(appliance: Any, capsys: pytest.CaptureFixture[str]) -> None:
    make("vm1")
    assert destroy.main(["vm1"]) == 0
    record = get_database().get_vm("vm1")
    assert record is not None
    assert record["status"] == Status.DESTROYED
    assert make("vm1") == 0


def test_status_without_an_agent_is_unknown(host: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert status.main(["vm1"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "unknown\n"
    assert captured.err


def test_detect_counts_emulation(
    host: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from blockhost.provisioner_libvirt import kvm

    monkeypatch.setattr(kvm, "probe", lambda: kvm.KvmState(False, "no svm"))
    assert detect.main([]) == 0
    assert "warning: machines will be emulated and slow: no svm" in capsys.readouterr().err
    monkeypatch.setenv("BLOCKHOST_PATH", "/nonexistent")
    assert detect.main([]) == 1
    assert "not installed: virsh" in capsys.readouterr().err


# --- what the agent refuses ------------------------------------------------------------------


def test_agent_defines_only_machines_of_this_host(appliance: Any) -> None:
    foreign = Domain(
        "vm1", 1, 512, "blockhost", "br7", Port("52:54:00:00:00:01", "192.0.2.9"), "qemu"
    ).render()
    with pytest.raises(RootAgentError, match="uses its bridge and its storage pool"):
        root_agent.call("virsh-define", xml=foreign)
    with pytest.raises(RootAgentError, match="xml: "):
        root_agent.call("virsh-define", xml="<domain type='kvm'><name>x</name></domain>")
    assert domains() == {}


def test_agent_keeps_the_disk_of_a_defined_machine(appliance: Any) -> None:
    make("vm1")
    for action, params in (
        ("vm-volumes-delete", {}),
        ("vm-disk-create", {"disk_gb": 1}),
        ("vm-seed-write", {"user_data": "x", "meta_data": "x", "network_config": "x"}),
    ):
        with pytest.raises(RootAgentError, match="is defined; its volumes stay"):
            root_agent.call(action, name="vm1", **params)
    assert volumes(appliance) == {"vm1.qcow2", "vm1-seed.iso"}


def test_agent_refuses_what_is_no_name(appliance: Any) -> None:
    before = len(appliance.ledger)
    names = ["--help", "-c", "a b", "a;b", "../x", "a\n", "", "ä", "a" * 65, 1, None, ["a"], True]
    for name in names:
        for action in ("virsh-start", "virsh-destroy", "virsh-undefine", "vm-volumes-delete"):
            with pytest.raises(RootAgentError, match="name: expected"):
                root_agent.call(action, name=name)
    assert len(appliance.ledger) == before
