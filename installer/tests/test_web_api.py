"""The JSON API: keys and codes of the contract."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import pytest

from installer.web.api import finalize
from testing.fakes.worker import CODE

BASE = "https://192.0.2.10"


@pytest.fixture
def ready(open_site):
    open_site.answer_all()
    return open_site


def test_health_is_open_and_says_little(site) -> None:
    answer = site.get("/healthz")
    assert answer.status_code == 200
    assert set(answer.json) == {"status", "version"}
    assert answer.json["status"] == "ok"


def test_status_names_medium_and_network(open_site) -> None:
    assert open_site.get("/api/status").json == {
        "boot_medium": "/dev/sdb",
        "network": {"ip": "192.0.2.10", "gateway": "192.0.2.1", "connectivity": "gateway"},
    }


def test_interfaces_and_disks_are_lists(open_site) -> None:
    assert [item["name"] for item in open_site.get("/api/network/interfaces").json] == ["enp1s0", "enp2s0"]
    assert [item["path"] for item in open_site.get("/api/storage/disks").json] == ["/dev/vda", "/dev/sdb"]


def test_dhcp_is_asked_for_a_known_interface_only(open_site) -> None:
    assert open_site.post("/api/network/dhcp", json={"interface": "enp9s9"}).status_code == 400
    answer = open_site.post("/api/network/dhcp", json={"interface": "enp1s0"}).json
    assert set(answer) == {"success", "message", "ip"}


def test_start_and_the_second_start(ready) -> None:
    first = ready.post("/api/finalize", json={})
    assert first.status_code == 202
    assert first.json["status"] == "running"
    second = ready.post("/api/finalize")
    assert second.status_code == 409
    assert second.json["run_id"] == first.json["run_id"]
    assert second.json["error"]


def test_eight_starts_at_once_are_one_run(ready) -> None:
    def start(_: int):
        return ready.twin().post("/api/finalize", json={}, base_url=BASE)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(start, range(8)))
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 7
    assert {answer.json["run_id"] for answer in answers} == {"run-1"}


def test_start_names_the_page_without_an_answer(open_site) -> None:
    open_site.answer("wallet")
    answer = open_site.post("/api/finalize", json={})
    assert answer.status_code == 422
    assert "network" in answer.json["error"]


@pytest.mark.parametrize(
    "text",
    ["[]", '"x"', "{", '{"resume": "yes"}', '{"retry_step": 3}', '{"a": 1, "a": 2}', '{"unknown": 1}', "NaN"],
)
def test_bad_json_is_explained(ready, text: str) -> None:
    answer = ready.post("/api/finalize", data=text, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json["error"].startswith("body")
    assert ready.worker.started is None


def test_retry_rules(ready) -> None:
    worker = ready.worker
    worker.state = "failed"
    worker.step_states = {"ledger": {"status": "completed"}, "mint_nft": {"status": "failed", "error": "x"}}
    assert ready.post("/api/finalize/retry", json={"step_id": "nonsense"}).status_code == 400
    assert ready.post("/api/finalize/retry", json={"step_id": "ledger"}).status_code == 400
    assert ready.post("/api/finalize/retry").status_code == 202
    assert ready.post("/api/finalize/retry").status_code == 409


def test_resume_goes_on_with_a_failed_run(ready) -> None:
    ready.worker.state = "interrupted"
    assert ready.post("/api/finalize", json={"resume": True}).status_code == 202
    assert ("retry", None) in ready.worker.calls
    assert ready.worker.started is None


def test_retry_step_of_a_start_goes_on_there(ready) -> None:
    ready.worker.state = "failed"
    assert ready.post("/api/finalize", json={"retry_step": "ledger"}).status_code == 202
    assert ("retry", "ledger") in ready.worker.calls


def test_reset_is_refused_while_running_and_after_what_cannot_be_undone(ready) -> None:
    ready.worker.state = "running"
    assert ready.post("/api/finalize/reset", json={}).status_code == 409
    ready.worker.state = "failed"
    ready.worker.step_states = {"mint_nft": {"status": "completed"}}
    assert ready.post("/api/finalize/reset", json={}).status_code == 409
    answer = ready.post("/api/finalize/reset", json={"force": True})
    assert answer.status_code == 200
    assert answer.json == {"status": "reset"}


def test_status_has_the_keys_of_the_contract(ready) -> None:
    keys = {"status", "progress", "current_step", "completed_steps", "steps", "failed_step", "error"}
    assert keys <= set(ready.get("/api/finalize/status").json)


def test_events_are_replayed_after_the_last_one_seen(ready) -> None:
    ready.worker.event_list = [
        {"id": 1, "type": "step", "step": "ledger", "status": "in_progress"},
        {"id": 2, "type": "log", "step": "ledger", "line": "a\nb"},
    ]
    answer = ready.get("/api/finalize/events", headers={"Last-Event-ID": "1"})
    assert answer.mimetype == "text/event-stream"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert "id: 1\n" not in answer.text
    assert 'id: 2\nevent: log\ndata: {"id":2,"type":"log","step":"ledger","line":"a\\nb"}\n\n' in answer.text
    assert ": waiting" in answer.text


@pytest.mark.parametrize("number", ["-1", "abc", "9" * 40, "١"])
def test_odd_event_numbers_mean_all(ready, number: str) -> None:
    answer = ready.get("/api/finalize/events", query_string={"after": number})
    assert answer.status_code == 200
    assert answer.text.startswith("retry:")
    assert ("events", 0) in ready.worker.calls


def test_streams_are_capped_and_given_back(ready, monkeypatch) -> None:
    monkeypatch.setattr(finalize, "LONGEST_STREAM_S", 60.0)
    held = [ready.get("/api/finalize/events", buffered=False) for _ in range(16)]  # half of the 32 threads
    refused = ready.get("/api/finalize/events")
    assert refused.status_code == 503
    assert refused.headers["Retry-After"]
    assert refused.json["error"]
    assert ready.get("/api/finalize/status").status_code == 200
    for stream in held:
        stream.close()
    again = ready.get("/api/finalize/events")
    assert again.status_code == 200
    again.close()


def test_backup_is_a_download(ready) -> None:
    answer = ready.get("/api/finalize/config")
    assert answer.text == "c0ffee\n"
    assert "blockhost-config.enc" in answer.headers["Content-Disposition"]


def _restore(site, signature: str = "sig", content: bytes | None = b"c0ffee\n", **more):
    data = {"admin_signature": signature}
    if content is not None:
        data["config_file"] = (io.BytesIO(content), "blockhost-config.enc")
    return site.post("/api/restore-config", data=data, content_type="multipart/form-data", **more)


def test_restore_fills_the_session_with_references(open_site) -> None:
    open_site.worker.restored = {
        "admin_wallet": "0x1",
        "admin_signature": {"$secret": "admin_signature"},
        "network": {"method": "dhcp"},
        "authenticated": False,
        "evil": 1,
    }
    answer = _restore(open_site)
    assert answer.status_code == 200
    assert answer.json == {"status": "restored", "redirect": "/wizard/storage"}
    session = open_site.sessions()[0]
    assert session["authenticated"] is True
    assert "evil" not in session


def test_restore_sends_a_browser_on(open_site) -> None:
    open_site.worker.restored = {"network": {"method": "dhcp"}}
    answer = _restore(open_site, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert answer.location == "/wizard/wallet"


@pytest.mark.parametrize(
    ("signature", "content", "status"),
    [("", b"c0ffee", 422), ("sig", None, 422), ("sig", b"\xff\xfe", 422), ("sig", b"nonsense", 400)],
)
def test_restore_refuses(open_site, signature: str, content: bytes | None, status: int) -> None:
    before = open_site.sessions()
    answer = _restore(open_site, signature, content)
    assert answer.status_code == status
    assert answer.json["error"]
    assert open_site.sessions() == before


def test_restore_takes_more_than_a_form_but_not_everything(open_site) -> None:
    assert _restore(open_site, content=b"a" * 100_000).status_code == 400
    kind = "multipart/form-data; boundary=x"
    assert open_site.post("/api/restore-config", data=b"a" * 600_000, content_type=kind).status_code == 413


def test_validation_output(ready) -> None:
    assert ready.get("/api/validation-output").json == {"success": True, "output": "NET-DNS-02 ok"}


def test_power(ready) -> None:
    assert ready.post("/api/complete").status_code == 400
    ready.worker.state = "completed"
    assert ready.post("/api/complete").status_code == 200
    assert ready.post("/api/reboot").json == {"status": "rebooting"}


def test_setup_test_does_not_exist_without_the_marker(site) -> None:
    assert site.post("/api/setup-test", json={"otp": CODE}).status_code == 404
    assert site.worker.guesses == 0


SECTIONS = {
    "wallet": {
        "admin_wallet": "0x" + "1b" * 20,
        "admin_signature": "0x" + "7" * 90 + "1b" * 20,
        "public_secret": "blockhost-access",
    },
    "network": {"method": "dhcp"},
    "storage": {"disk": "vda"},
    "engine": {"name": "legacychain", "rpc_url": "https://rpc.example", "deployer_key": "k"},
    "provisioner": {"name": "plain", "size": "1"},
    "ipv6": {"ipv6_mode": "none"},
    "admin_commands": {"admin_enabled": False},
}


def test_setup_test_does_it_all_in_one_request(site) -> None:
    site.worker.host_facts["testing"] = True
    answer = site.post("/api/setup-test", json={"otp": CODE, **SECTIONS})
    assert answer.status_code == 202, answer.text
    assert answer.json["poll_url"] == "/api/finalize/status"
    assert site.worker.started["blockchain"]["deployer_key"] == {"$secret": "deployer_key"}
    assert site.get(answer.json["poll_url"]).status_code == 200


def test_setup_test_still_asks_for_the_code(site) -> None:
    site.worker.host_facts["testing"] = True
    assert site.post("/api/setup-test", json={"otp": "WRONG", **SECTIONS}).status_code == 401
    assert site.worker.started is None


def test_setup_test_names_every_fault(site) -> None:
    site.worker.host_facts["testing"] = True
    broken = SECTIONS | {"network": {"method": "x"}, "ipv6": {}}
    answer = site.post("/api/setup-test", json={"otp": CODE, **broken})
    assert answer.status_code == 422
    assert "network.method" in answer.json["error"]
    assert "ipv6.ipv6_mode" in answer.json["error"]


def test_worker_away_is_said_in_json(ready) -> None:
    ready.worker.is_down = True
    answer = ready.get("/api/finalize/status")
    assert answer.status_code == 503
    assert set(answer.json) == {"error", "hint"}
