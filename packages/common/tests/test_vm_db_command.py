"""`blockhost-vmdb`: results on stdout, refusals on stderr, and everything out and in again."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blockhost import wall_clock
from blockhost.vm_db import VMDatabase, cli, get_database
from testing.fakes.clocks import Clocks

Run = Callable[..., tuple[int, str, str]]
POOLS = {
    "ip_pool": {"network": "192.0.2.0/24", "start": "192.0.2.2", "end": "192.0.2.9", "gateway": "192.0.2.1"},
    "ipv6_pool": {"start": "2001:db8::10", "end": "2001:db8::ff"},
}


@pytest.fixture
def host(root: Path) -> Path:
    (root / "etc/blockhost/db.yaml").write_text(json.dumps(POOLS))
    return root


@pytest.fixture
def run(host: Path, runs: Callable[..., Run]) -> Run:
    return runs(cli.main)


@pytest.fixture
def machines(host: Path) -> VMDatabase:
    database = get_database()
    database.reserve_vm("blockhost-001", owner="SHA256:a", wallet_address="SHA256:a")
    database.mark_active("blockhost-001")
    database.reserve_nft_token_id("blockhost-001", 4)
    database.reserve_vm("blockhost-002", owner="SHA256:b")
    database.mark_suspended("blockhost-002")
    database.reserve_vm("old")
    database.mark_destroyed("old")
    return database


def test_help(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    verbs = "get-vm list export import extend-expiry update-fields mark-nft-minted check"
    assert all(verb in out for verb in verbs.split())


@pytest.mark.parametrize("words", [[], ["frobnicate"], ["list", "--frob"], ["extend-expiry", "a", "0"],
                                   ["extend-expiry", "a", "1.5"], ["list", "--status", "happy"],
                                   ["mark-nft-minted", "a", "-1"]])  # fmt: skip
def test_wrong_usage(run: Run, words: list[str]) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert "usage" in err


@pytest.mark.parametrize("words", [["list"], ["get-vm", "a"], ["export"], ["check"]])
def test_before_setup_it_refuses_and_makes_nothing(run: Run, host: Path, words: list[str]) -> None:
    code, out, err = run(*words)
    assert (code, out) == (1, "")
    assert "there is no VM database yet" in err
    assert list((host / "var/lib/blockhost").iterdir()) == []


def test_get_vm_prints_the_record(run: Run, machines: VMDatabase) -> None:
    code, out, _ = run("get-vm", "blockhost-001")
    assert (code, json.loads(out)) == (0, machines.get_vm("blockhost-001"))
    code, out, _ = run("get-vm", "blockhost-001", "--format", "text")
    assert "ip_address:      192.0.2.2\n" in out
    assert run("get-vm", "x")[::2] == (
        1, "blockhost-vmdb: no VM named x\n  `blockhost-vmdb list` shows them.\n",
    )  # fmt: skip


def test_list(run: Run, machines: VMDatabase) -> None:
    _, out, _ = run("list")
    assert [line.split()[:3] for line in out.splitlines()] == [
        ["NAME", "STATUS", "IP"],
        ["blockhost-001", "active", "192.0.2.2"],
        ["blockhost-002", "suspended", "192.0.2.3"],
        ["old", "destroyed", "192.0.2.4"],
    ]
    _, out, _ = run("list", "--format", "json", "--status", "suspended")
    assert [vm["vm_name"] for vm in json.loads(out)] == ["blockhost-002"]


def test_extend_tells_who_sleeps(run: Run, machines: VMDatabase) -> None:
    code, out, _ = run("extend-expiry", "blockhost-001", "3")
    assert (code, out.split()) == (0, [machines.get_vm("blockhost-001")["expires_at"]])  # type: ignore[index]
    assert run("extend-expiry", "blockhost-002", "3")[1].split()[1] == "NEEDS_RESUME"


def test_nothing_is_extended_by_a_clock_in_doubt(
    run: Run, machines: VMDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Clocks.install(monkeypatch)
    wall_clock.trust()
    clocks.jump(-10 * 365 * 86_400)
    before = machines.list_vms()
    code, out, err = run("extend-expiry", before[0]["vm_name"], "5")
    assert (code, out) == (1, "")
    assert "cannot be relied on" in err
    assert machines.list_vms() == before


def test_update_fields(run: Run, machines: VMDatabase) -> None:
    assert run("update-fields", "blockhost-001", "--fields", '{"gecos_synced": true}') == (0, "", "")
    assert machines.get_vm("blockhost-001")["gecos_synced"] is True  # type: ignore[index]
    for text, message in (
        ('{"status": "active"}', "cannot be set"),
        ("{", "--fields"),
        ("[]", "expected an object"),
        ("{}", "at least one"),
        ('{"owner": "a", "owner": "b"}', "duplicate key"),
    ):
        code, _, err = run("update-fields", "blockhost-001", "--fields", text)
        assert (code, message in err) == (1, True), err


def test_mark_nft_minted(run: Run, machines: VMDatabase) -> None:
    assert run("mark-nft-minted", "blockhost-001") == (0, "", "")
    assert run("mark-nft-minted", "blockhost-002", "9") == (0, "", "")
    minted = [(vm["nft_token_id"], vm["nft_minted"]) for vm in machines.list_vms()]
    assert minted == [(4, True), (9, True), (None, False)]
    assert "its number must be given" in run("mark-nft-minted", "old")[2]


def test_out_and_in_again(run: Run, machines: VMDatabase, tmp_path: Path) -> None:
    loose = machines.allocate_ip()
    _, exported, _ = run("export")
    document = json.loads(exported)
    assert list(document) == ["vms", "next_vmid", "allocated_ips", "allocated_ipv6"]
    assert (document["next_vmid"], sorted(document["vms"])) == (
        103,
        ["blockhost-001", "blockhost-002", "old"],
    )
    assert document["allocated_ips"] == ["192.0.2.2", "192.0.2.3", loose]
    file = tmp_path / "export.json"
    file.write_text(exported)
    code, _, err = run("import", str(file))
    assert (code, "holds machines already" in err) == (1, True)
    assert run("import", str(file), "--replace") == (0, "", "3 machines\n")
    assert run("export")[1] == exported
    assert machines.allocate_vmid() == 103
    assert machines.allocate_ip() == "192.0.2.5"
    assert machines.reserve_nft_token_id("blockhost-002") == 5


def test_import_reads_standard_input(run: Run, host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    get_database().close()
    text = json.dumps({"vms": {"a": {"vmid": 7, "status": "active", "created_at": "2025-01-01T00:00:00"}}})
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert run("import", "-")[0] == 0
    record = json.loads(run("get-vm", "a")[1])
    assert (record["created_at"], record["node_id"], record["ip_address"]) == (
        "2025-01-01T00:00:00+00:00", "local", None,
    )  # fmt: skip


ONE = {"vmid": 7, "status": "active", "created_at": "2025-01-01T00:00:00", "ip_address": "192.0.2.2"}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "line 1"),
        ("[]", "$: expected object"),
        ({"vms": {"a": {**ONE, "status": "happy"}}}, "$.vms.a.status"),
        ({"vms": {"a": {**ONE, "vmid": "7"}}}, "$.vms.a.vmid: expected int"),
        ({"vms": {"a": {**ONE, "created_at": "x"}}}, "$.vms.a.created_at"),
        ({"vms": {"a": {**ONE, "ip_address": "x"}}}, "$.vms.a.ip_address"),
        ({"vms": {"a": {**ONE, "vm_name": "b"}}}, "$.vms.a.vm_name"),
        ({"vms": {"a": ONE, "b": {**ONE, "vmid": 8}}}, "192.0.2.2 belongs to the VM a"),
        ({"vms": {"a": ONE, "b": {**ONE, "ip_address": None}}}, "the id 7 belongs"),
        ({"vms": {}, "allocated_ips": [7]}, "$.allocated_ips[0]"),
        ({"vms": {}, "allocated_ips": ["x"]}, "'x' is not an address"),
    ],
)
def test_bad_import_changes_nothing(
    run: Run, machines: VMDatabase, tmp_path: Path, document: Any, message: str
) -> None:
    before = machines.list_vms()
    file = tmp_path / "bad.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    code, _, err = run("import", str(file), "--replace")
    assert (code, message in err) == (1, True), err
    assert machines.list_vms() == before


def test_check_finds_damage(run: Run, machines: VMDatabase, host: Path) -> None:
    assert run("check") == (0, "sound\n", "")
    machines.close()
    file = host / "var/lib/blockhost/vms.db"
    file.write_bytes(b"\x00" * 100 + file.read_bytes()[100:])
    code, _, err = run("check")
    assert (code, "not a database" in err) == (1, True), err
