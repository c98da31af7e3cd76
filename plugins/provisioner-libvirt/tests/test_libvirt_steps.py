"""Finalization's steps with a recorded libvirt: idempotent, resumable, and loud when they cannot."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from blockhost.config import load_db_config
from blockhost.errors import BlockhostError, StepFailed
from blockhost.manifest import load_provisioner
from blockhost.pipeline.context import StepContext
from blockhost.pipeline.step import Step
from blockhost.provisioner_libvirt import wizard
from blockhost.provisioner_libvirt.steps import STEPS
from blockhost.vm_db import get_database

REPOSITORY = Path(__file__).resolve().parents[3]


def context(host: Any, step_id: str) -> StepContext:
    return StepContext(step_id=step_id, config={"provisioner": host.answers})


def run_all(host: Any) -> None:
    for step in STEPS:
        step.apply(context(host, step.id))
        assert step.check is not None
        assert step.check(context(host, step.id)), step.id


def carry_again(image: Path) -> None:
    import hashlib

    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    image.with_name(image.name + ".sha256").write_text(f"{digest}  {image.name}\n")


def test_nothing_is_in_place_before(host: Any) -> None:
    assert [step.check(context(host, step.id)) for step in STEPS if step.check] == [False] * 3


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.id)
def test_check_alone_tells_the_steps_result(host: Any, step: Step) -> None:
    """A run that died between effect and record has no other way to it."""
    run_all(host)
    applied, checked = context(host, step.id), context(host, step.id)
    step.apply(applied)
    assert step.check is not None
    assert step.check(checked)
    assert checked.data == applied.data


def test_db_yaml_has_what_the_contract_says(host: Any) -> None:
    run_all(host)
    config = load_db_config()
    assert re.fullmatch(r"blockhost-template-[0-9a-f]{12}\.qcow2", config.pop("template_volume"))
    assert config.pop("accelerator") in ("kvm", "qemu")
    assert config == {
        "storage_pool": "blockhost",
        "storage_path": "/var/lib/libvirt/images/blockhost",
        "db_file": "/var/lib/blockhost/vms.db",
        "bridge": "br0",
        "ip_pool": {
            "network": "192.0.2.0/24",
            "start": "192.0.2.100",
            "end": "192.0.2.120",
            "gateway": "192.0.2.1",
            "reserved": ["192.0.2.105"],
        },
        "default_expiry_days": 30,
        "gc_grace_days": 7,
    }
    assert set(load_db_config()) <= set(
        load_provisioner(REPOSITORY / "plugins/provisioner-libvirt/provisioner.json").provisioner_config
    )


def test_hosts_own_address_is_never_handed_out(host: Any) -> None:
    run_all(host)
    database = get_database()
    given = {database.allocate_ip() for _ in range(20)}
    assert "192.0.2.105" not in given
    with pytest.raises(BlockhostError, match="no IPv4 address left"):
        database.allocate_ip()
    database.close()


def test_second_run_changes_nothing(host: Any) -> None:
    run_all(host)
    before = {str(path): path.read_bytes() for path in (host.root / "etc").rglob("*") if path.is_file()}
    calls = len(host.ledger)
    run_all(host)
    assert {
        str(path): path.read_bytes() for path in (host.root / "etc").rglob("*") if path.is_file()
    } == before
    changing = {"pool-define-as", "pool-start", "pool-autostart", "vol-delete"}
    assert not [argv for argv in host.ledger[calls:] if changing & set(argv)]


def test_pool_elsewhere_is_not_taken_over(host: Any) -> None:
    run_all(host)
    host.answers["storage_path"] = "/srv/other"
    with pytest.raises(StepFailed, match="already has a pool blockhost at") as failure:
        STEPS[0].apply(context(host, "storage"))
    assert "another name" in failure.value.hint


def test_missing_bridge_is_named(host: Any) -> None:
    (host.root / "run/blockhost/bridge").unlink()
    with pytest.raises(StepFailed, match="names no bridge"):
        STEPS[1].apply(context(host, "network"))
    assert not (host.root / "etc/blockhost/db.yaml").exists()


def test_unusable_answer_is_named(host: Any) -> None:
    host.answers["gateway"] = "10.0.0.1"
    with pytest.raises(StepFailed, match=r"gateway: 10\.0\.0\.1 is not in the network"):
        STEPS[1].apply(context(host, "network"))


def test_damaged_image_is_refused(host: Any) -> None:
    STEPS[0].apply(context(host, "storage"))
    image = host.root / "var/lib/blockhost/template/blockhost-vm.qcow2"
    with image.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff")
    with pytest.raises(StepFailed, match="is damaged"):
        STEPS[2].apply(context(host, "template"))


@pytest.mark.parametrize("kind", ["backing", "data"])
def test_image_that_names_files_of_the_host_is_refused(host: Any, kind: str) -> None:
    import subprocess

    STEPS[0].apply(context(host, "storage"))
    image = host.root / "var/lib/blockhost/template/blockhost-vm.qcow2"
    secret = host.root / "secret.raw"
    secret.write_bytes(b"\0" * 65536)
    image.unlink()
    options = (
        ["-b", str(secret), "-F", "raw"]
        if kind == "backing"
        else ["-o", f"data_file={secret},data_file_raw=on"]
    )
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, str(image), "1M"], check=True)
    carry_again(image)
    with pytest.raises(StepFailed, match="stands alone"):
        STEPS[2].apply(context(host, "template"))


def test_missing_image_is_named(host: Any) -> None:
    STEPS[0].apply(context(host, "storage"))
    (host.root / "var/lib/blockhost/template/blockhost-vm.qcow2").unlink()
    with pytest.raises(StepFailed, match="is missing"):
        STEPS[2].apply(context(host, "template"))


def test_plan_tells_before_consent(host: Any) -> None:
    changes = [change for step in STEPS if step.plan for change in step.plan(context(host, step.id))]
    assert "/etc/blockhost/db.yaml" in {change.target for change in changes}
    assert not (host.root / "etc/blockhost/db.yaml").exists()
    assert host.ledger == []


def test_manifest_and_module_agree() -> None:
    manifest = load_provisioner(REPOSITORY / "plugins/provisioner-libvirt/provisioner.json")
    assert manifest.unknown_keys == ()
    assert tuple(step.id for step in wizard.get_finalization_steps()) == manifest.finalization_steps
    assert wizard.blueprint.name == f"provisioner_{manifest.name}"
    assert json.dumps(wizard.answers_schema())


def test_checks_hold_after_finalization_and_not_before(host: Any) -> None:
    from blockhost.checks import CheckContext

    mandatory = [check for check in wizard.get_checks() if check.severity == "error"]
    before = [check.probe(CheckContext()).ok for check in mandatory]
    assert before == [True, False, False, False]
    run_all(host)
    assert all(check.probe(CheckContext()).ok for check in mandatory)


def test_rebuilt_image_replaces_the_carried_one(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what happens inside the image replaced: that needs mounts, and an archive."""
    import subprocess

    from blockhost.provisioner_libvirt import template, template_upgrade

    run_all(host)
    before = str(load_db_config()["template_volume"])
    pool = host.root / "var/lib/libvirt/images/blockhost"
    disk = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(pool / before), "-F", "qcow2"]
    subprocess.run([*disk, str(pool / "vm1.qcow2")], check=True)

    def upgrade(raw: Path, root: Path, say: Any) -> None:
        with raw.open("r+b") as file:
            file.write(b"upgraded")

    monkeypatch.setattr(template_upgrade, "_upgrade", upgrade)
    monkeypatch.setattr(template, "room_for", lambda image: None)
    told: list[float] = []
    after = template.rebuild_template(lambda fraction, _: told.append(fraction), print)
    assert told == sorted(told)
    assert len(told) >= 4
    assert after == load_db_config()["template_volume"] != before
    assert template.imported_volume()
    assert (pool / before).exists()  # a disk lies on it
    assert not list(host.root.rglob(".rebuild-*"))

    (pool / "vm1.qcow2").unlink()
    assert template.import_template() == before  # back to what the ISO carried
    assert template.imported_volume()
    assert not (pool / after).exists()


def test_failed_rebuild_changes_nothing(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from blockhost.provisioner_libvirt import template, template_upgrade

    run_all(host)
    before = (host.root / "etc/blockhost/db.yaml").read_bytes()

    def upgrade(raw: Path, root: Path, say: Any) -> None:
        raise BlockhostError("no archive")

    monkeypatch.setattr(template_upgrade, "_upgrade", upgrade)
    monkeypatch.setattr(template, "room_for", lambda image: None)
    with pytest.raises(BlockhostError, match="no archive"):
        template.rebuild_template(lambda *_: None, print)
    assert (host.root / "etc/blockhost/db.yaml").read_bytes() == before
    assert template.imported_volume()
    assert not list(host.root.rglob(".rebuild-*"))
