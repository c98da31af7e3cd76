"""The page of machines. Its provisioner is a fake: it answers as told and refuses what it does not know."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from admin.pages.vms import figure, points, rate
from blockhost import wall_clock
from blockhost.vm_db import MockVMDatabase
from testing.fakes.clocks import Clocks
from testing.fakes.told_provisioner import ToldProvisioner

JSON = {"Accept": "application/json"}
LISTED = {"name": "blockhost-001", "status": "active", "ip": "10.0.0.5", "created": "2026-01-02T03:04:05Z"}
METRICS = {"cpu_percent": 25.0, "memory_used_mb": 512, "memory_total_mb": 1024, "net_rx_bytes_sec": -1}


@pytest.fixture
def provisioner(engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ToldProvisioner:
    monkeypatch.setenv("FAKE_PROVISIONER", str(tmp_path / "provisioner"))
    return ToldProvisioner(tmp_path / "provisioner", programs=engine.place, root=tmp_path / "r")


@pytest.fixture
def inside(provisioner: ToldProvisioner, browser: Any) -> Any:
    browser.log_in()
    return browser


def vms(inside: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = inside.get("/api/vms").json["vms"]
    return found


def look_again(app: Any) -> None:
    app.extensions["inventory"].forget()


def test_page_without_machines_says_so(inside: Any) -> None:
    page = inside.get("/vms").text
    assert "There is no machine yet" in page
    assert 'aria-current="page"' in page
    assert "style=" not in page
    assert "script-src 'self'" in inside.get("/vms").headers["Content-Security-Policy"]
    assert "script-src" not in inside.get("/").headers["Content-Security-Policy"]


def test_list_is_merged_with_the_record(
    inside: Any, provisioner: ToldProvisioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = MockVMDatabase()
    database.register_vm("blockhost-001", 100, "10.0.0.5", owner="SHA256:me", expiry_days=30)
    monkeypatch.setattr("admin.vms.inventory.vm_db.get_database", lambda **_: database)
    provisioner.lists({**LISTED, "metrics": METRICS})
    (machine,) = vms(inside)
    assert (machine["owner"], machine["status"], machine["ip"]) == ("SHA256:me", "active", "10.0.0.5")
    assert machine["expires_at"]
    assert machine["history"] == {"cpu": [25.0], "memory": [50.0]}
    page = inside.get("/vms").text
    expires = machine["expires_at"][:16].replace("T", " ") + " UTC"
    for text in ("blockhost-001", "SHA256:me", "10.0.0.5", "25 %", "512 MB", expires, "2026-01-02 03:04 UTC"):
        assert text in page
    assert machine["shown"]["expires"] == expires


def test_clock_in_doubt_is_told(inside: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = "Nothing is suspended or destroyed"
    (tmp_path / "r/var/lib/blockhost").mkdir(parents=True)
    clocks = Clocks.install(monkeypatch)
    wall_clock.trust()
    assert told not in inside.get("/vms").text
    assert "is relied on" in inside.get("/").text
    assert inside.get("/api/system").json["clock_doubt"] == ""
    clocks.jump(10 * 365 * 86_400)
    page = inside.get("/vms").text
    assert told in page
    assert "blockhost-clock trust" in page
    assert "cannot be relied on" in inside.get("/").text
    assert "cannot be relied on" in inside.get("/api/system").json["clock_doubt"]


def test_snapshot_serves_everybody_for_a_while(inside: Any, app: Any, provisioner: ToldProvisioner) -> None:
    provisioner.lists({**LISTED, "metrics": METRICS})
    for _ in range(5):
        vms(inside)
    assert len(provisioner.calls()) == 1
    look_again(app)
    assert vms(inside)[0]["history"]["cpu"] == [25.0, 25.0]


def test_provisioner_that_lists_no_metrics_is_asked_without(
    inside: Any, app: Any, provisioner: ToldProvisioner
) -> None:
    provisioner.lists(LISTED, metrics=False)
    assert vms(inside)[0]["metrics"] is None
    look_again(app)
    vms(inside)
    plain, full = ["list", "--format", "json"], ["list", "--format", "json", "--metrics"]
    assert provisioner.calls() == [full, plain, plain]
    # A moment's illness does not take the figures away for good.
    provisioner.lists({**LISTED, "metrics": METRICS})
    app.extensions["inventory"].clock = lambda: time.monotonic() + 61
    assert vms(inside)[0]["metrics"] == METRICS


def test_machines_are_counted(inside: Any, provisioner: ToldProvisioner) -> None:
    names = [f"blockhost-{number:03}" for number in range(9)]
    provisioner.lists(*({**LISTED, "name": name} for name in names), {**LISTED, "status": "suspended"})
    text = "10 machines: 9 active, 1 suspended"
    assert inside.get("/api/vms").json["summary"] == text
    page = inside.get("/vms").text
    assert text in page
    assert 'id="look-for"' in page


def test_end_of_an_unknown_machine_is_not_never(inside: Any, provisioner: ToldProvisioner) -> None:
    provisioner.lists(LISTED)
    assert vms(inside)[0]["shown"]["expires"] == "–"


@pytest.mark.parametrize("stdout", ["not json", "{}", "[1]"])
def test_list_that_is_none_is_said(inside: Any, provisioner: ToldProvisioner, stdout: str) -> None:
    provisioner.does("list", stdout=stdout, metrics=True)
    reply = inside.get("/api/vms")
    assert reply.status_code == 503
    assert "the provisioner's list" in reply.json["error"]
    page = inside.get("/vms")
    assert page.status_code == 200
    assert 'role="alert"' in page.text
    assert "There is no machine yet" not in page.text


def test_list_that_fails_is_told_with_its_hint(inside: Any, provisioner: ToldProvisioner) -> None:
    said = "blockhost-vm-list: libvirt is gone\n  systemctl status libvirtd"
    provisioner.does("list", code=1, stderr=said, metrics=True)
    reply = inside.get("/api/vms")
    assert reply.status_code == 503
    assert "libvirt is gone – systemctl status libvirtd" in reply.json["error"]
    assert "systemctl status libvirtd" in inside.get("/vms").text


def test_hostile_fields_are_text(inside: Any, provisioner: ToldProvisioner) -> None:
    provisioner.lists({**LISTED, "name": "<script>alert(1)</script>", "ip": '"><img src=x>', "metrics": None})
    page = inside.get("/vms").text
    assert "<script>alert" not in page
    assert "<img" not in page


@pytest.mark.parametrize("verb", ["start", "stop", "kill", "destroy"])
def test_action_goes_to_the_provisioner(inside: Any, provisioner: ToldProvisioner, verb: str) -> None:
    provisioner.does(verb)
    assert inside.post(f"/api/vms/blockhost-001/{verb}", headers=JSON).json == {"ok": True}
    assert provisioner.calls() == [[verb, "blockhost-001"]]


def test_form_comes_back_to_the_page(inside: Any, provisioner: ToldProvisioner) -> None:
    provisioner.does("start")
    reply = inside.post("/api/vms/blockhost-001/start", data={"x": ""})
    assert (reply.status_code, reply.location) == (303, "/admin/vms")


def test_refusal_is_said_in_the_commands_own_words(inside: Any, provisioner: ToldProvisioner) -> None:
    provisioner.does("start", code=1, stderr="some detail\nblockhost-001 has expired")
    reply = inside.post("/api/vms/blockhost-001/start", headers=JSON)
    assert reply.status_code == 422
    assert reply.json == {"ok": False, "error": "blockhost-001 has expired"}
    page = inside.post("/api/vms/blockhost-001/start", data={"x": ""})
    assert page.status_code == 422
    assert "blockhost-001 has expired" in page.text


def test_refusal_comes_with_its_hint(inside: Any, provisioner: ToldProvisioner) -> None:
    provisioner.does("start", code=1, stderr="a warning\nit has expired\n  blockhost-vm-resume wakes it")
    reply = inside.post("/api/vms/blockhost-001/start", headers=JSON)
    assert reply.json["error"] == "it has expired – blockhost-vm-resume wakes it"


@pytest.mark.parametrize("typed", ["", "blockhost-002", "yes"])
def test_destroying_by_form_needs_the_name(inside: Any, provisioner: ToldProvisioner, typed: str) -> None:
    provisioner.does("destroy")
    reply = inside.post("/api/vms/blockhost-001/destroy", data={"confirm": typed})
    assert reply.status_code == 422
    assert "Type the name" in reply.text
    assert [call for call in provisioner.calls() if call[0] == "destroy"] == []
    assert inside.post("/api/vms/blockhost-001/destroy", data={"confirm": "blockhost-001"}).status_code == 303


@pytest.mark.parametrize(
    "path", ["blockhost-001/explode", "Blockhost/start", "a;b/start", "--help/start", "x" * 65 + "/start"]
)
def test_what_is_no_name_or_verb_is_not_run(inside: Any, provisioner: ToldProvisioner, path: str) -> None:
    assert inside.post(f"/api/vms/{path}", headers=JSON).status_code == 404
    assert provisioner.calls() == []


def test_one_thing_at_a_time_for_each_machine(inside: Any, app: Any, provisioner: ToldProvisioner) -> None:
    provisioner.does("stop", code=1, stderr="it did not want to")
    provisioner.does("start")
    provisioner.lists(LISTED, {**LISTED, "name": "blockhost-002"})
    app.extensions["actions"].answer_s = 0.05
    release = provisioner.hold("stop")
    assert inside.post("/api/vms/blockhost-001/stop", headers=JSON).json == {"ok": True, "pending": True}
    assert [machine["busy"] for machine in vms(inside)] == ["stop", ""]
    refused = inside.post("/api/vms/blockhost-001/start", headers=JSON)
    assert refused.status_code == 409
    assert "busy" in refused.json["error"]
    app.extensions["actions"].answer_s = 20
    assert inside.post("/api/vms/blockhost-002/start", headers=JSON).json == {"ok": True}
    release()
    deadline = time.monotonic() + 20
    while app.extensions["actions"].running():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    assert [machine["problem"] for machine in vms(inside)] == ["it did not want to", ""]
    assert "it did not want to" in inside.get("/vms").text


def test_nothing_without_a_session(provisioner: ToldProvisioner, browser: Any) -> None:
    assert browser.get("/api/vms", headers=JSON).status_code == 401
    assert browser.post("/api/vms/blockhost-001/kill", headers=JSON).status_code == 401
    assert browser.get("/vms").location == "/admin/login"
    assert provisioner.calls() == []


def test_charts_are_drawn_from_the_right() -> None:
    assert points([0.0, 50.0, 100.0]).split() == ["115.9,28.0", "118.0,14.0", "120.0,0.0"]
    assert points([None, 100.0]) == "120.0,0.0"
    assert points([]) == ""


def test_figures_that_are_not_known_are_dashes() -> None:
    assert (figure(-1, "MB"), figure(None, "MB"), figure(0, "MB")) == ("–", "–", "0 MB")
    assert (rate(-1), rate(None), rate(12345)) == ("–", "–", "12.3 kB/s")
