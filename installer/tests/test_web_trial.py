"""A new address: tried, proven by opening it there, or taken back. The worker is a fake; time is ours."""

from __future__ import annotations

import re

import pytest

from blockhost import boot_clock
from blockhost.errors import WorkerError

STATIC = {"method": "static", "address": "198.51.100.5", "netmask": "24", "gateway": "198.51.100.1"}
THERE = "https://198.51.100.5"


@pytest.fixture
def trying(open_site):
    """The operator answered with an address that the host did not have."""
    open_site.worker.actions |= {
        "network-switch": {"pending": True, "address": "198.51.100.5", "seconds_left": 120.0},
        "network-confirm": {"kept": True},
        "network-revert": {"reverted": True},
    }
    open_site.answer("wallet")
    assert open_site.post("/wizard/network", data=STATIC).location == "/wizard/storage"
    return open_site


def actions(site) -> list[str]:
    return [name for command, name in site.worker.calls if command == "action"]


def token_of(site) -> str:
    return re.search(
        r'href="https://198.51.100.5/wizard/network/confirm\?token=([0-9a-f]{32})"',
        site.get("/wizard/storage").text,
    )[1]


def there(site):
    """The same browser at the new address: it sends no cookie there yet."""
    return site.new_client(HTTP_HOST="198.51.100.5")


def test_link_takes_the_session_along(trying) -> None:
    token, browser = token_of(trying), there(trying)
    page = browser.get(f"/wizard/network/confirm?token={token}", base_url=THERE)
    assert page.status_code == 200
    assert "network-confirm" not in actions(trying), "looking keeps nothing"
    kept = browser.post("/wizard/network/confirm", data={"token": token}, base_url=THERE)
    assert kept.status_code == 303
    assert actions(trying)[-1] == "network-confirm"
    assert browser.get("/wizard/storage", base_url=THERE).status_code == 200
    assert "is being tried" not in browser.get("/wizard/storage", base_url=THERE).text
    assert trying.get("/wizard/storage").location == "/login", "the old address's session ended"
    assert len(trying.sessions()) == 1


def test_link_works_once(trying) -> None:
    token = token_of(trying)
    assert (
        there(trying).post("/wizard/network/confirm", data={"token": token}, base_url=THERE).status_code
        == 303
    )
    assert (
        there(trying).post("/wizard/network/confirm", data={"token": token}, base_url=THERE).status_code
        == 404
    )


@pytest.mark.parametrize("token", ["", "0" * 32, "x"])
def test_guessed_link_is_nothing(trying, token: str) -> None:
    browser = there(trying)
    assert browser.get(f"/wizard/network/confirm?token={token}", base_url=THERE).status_code == 404
    answer = browser.post("/wizard/network/confirm", data={"token": token}, base_url=THERE)
    assert answer.status_code == 404
    assert "Set-Cookie" not in answer.headers
    assert "network-confirm" not in actions(trying)


def test_link_proves_nothing_at_the_old_address(trying) -> None:
    token = token_of(trying)
    assert trying.get(f"/wizard/network/confirm?token={token}").status_code == 404
    assert trying.post("/wizard/network/confirm", data={"token": token}).status_code == 404
    assert "network-confirm" not in actions(trying)


def test_client_that_carries_its_cookie_confirms_by_api(trying) -> None:
    assert trying.post("/api/network/confirm", json={}).status_code == 409
    cookie = f"__Host-blockhost={trying.session_id}"
    client = trying.new_client(use_cookies=False, HTTP_HOST="198.51.100.5", HTTP_COOKIE=cookie)
    assert client.post("/api/network/confirm", json={}, base_url=THERE).json == {"status": "kept"}
    assert client.post("/api/network/confirm", json={}, base_url=THERE).status_code == 409


def test_client_is_told_which_address_is_tried(trying) -> None:
    tried = trying.get("/api/network/trial").json
    assert tried["address"] == "198.51.100.5"
    assert 100 < tried["seconds_left"] <= 120
    there(trying).post("/wizard/network/confirm", data={"token": token_of(trying)}, base_url=THERE)
    assert trying.get("/api/network/trial").status_code == 401, "the session moved on"


def test_no_address_is_tried(open_site) -> None:
    assert open_site.get("/api/network/trial").json == {"address": "", "seconds_left": 0}


def test_trial_that_ran_out_is_asked_again(trying, monkeypatch) -> None:
    token, now = token_of(trying), boot_clock.seconds()
    monkeypatch.setattr(boot_clock, "seconds", lambda: now + 121)
    assert there(trying).get(f"/wizard/network/confirm?token={token}", base_url=THERE).status_code == 404
    assert trying.get("/wizard/storage").location == "/wizard/network"
    assert "Nobody opened 198.51.100.5 in time" in trying.get("/wizard/network").text


def test_worker_that_took_it_back_first_wins(trying) -> None:
    trying.worker.actions["network-confirm"] = {"kept": False}
    answer = there(trying).post("/wizard/network/confirm", data={"token": token_of(trying)}, base_url=THERE)
    assert answer.status_code == 409
    assert "network" not in trying.sessions()[0]


def test_nothing_starts_during_a_trial(trying) -> None:
    trying.answer("storage", "legacychain", "plain", "ipv6", "admin-commands")
    assert trying.post("/wizard/summary", data={"confirm": "yes"}).status_code == 422
    assert trying.post("/api/finalize", json={}).status_code == 409
    assert trying.worker.started is None


def test_going_back_to_dhcp_ends_the_trial(trying) -> None:
    assert trying.post("/wizard/network", data={"method": "dhcp"}).status_code == 303
    assert actions(trying)[-1] == "network-revert"
    assert "is being tried" not in trying.get("/wizard/storage").text


def test_address_that_the_host_has_needs_no_proof(trying) -> None:
    own = {"method": "static", "address": "192.0.2.10", "netmask": "24", "gateway": "192.0.2.1"}
    assert trying.post("/wizard/network", data=own).status_code == 303
    assert actions(trying)[-1] == "network-confirm"
    assert "is being tried" not in trying.get("/wizard/storage").text


def test_address_that_does_not_work_is_refused_at_its_page(open_site, monkeypatch) -> None:
    def refuse(name, params, answers):
        raise WorkerError("the gateway 198.51.100.1 does not answer", code="", hint="Check the gateway")

    monkeypatch.setattr(open_site.worker, "action", refuse)
    open_site.answer("wallet")
    answer = open_site.post("/wizard/network", data=STATIC)
    assert answer.status_code == 422
    assert "does not answer" in answer.text
    assert "Check the gateway" in answer.text
    assert "network" not in open_site.sessions()[0]
