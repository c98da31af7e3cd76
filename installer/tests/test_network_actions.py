"""What the page's network actions answer, and that certificate and site follow the addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from blockhost import nginx_site
from blockhost.errors import AnswerError
from blockhost.nginx_site import FinalSite, SetupSite
from blockhost.pipeline import StepContext
from installer.finalize import plan as finalize_plan
from installer.network import actions, address
from installer.network.address import NetworkPlan, Switch
from installer.tls import certificate, local_ca

CONTEXT = StepContext(step_id="call", config={})


@pytest.fixture(autouse=True)
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[nginx_site.Site]:
    """A host with a setup site; what becomes live is in the list."""
    monkeypatch.setenv("BLOCKHOST_ROOT", str(tmp_path))
    (tmp_path / "etc/blockhost").mkdir(parents=True)
    made = local_ca.ensure_certificate(["192.0.2.1"])
    live: list[nginx_site.Site] = [SetupSite(made.cert_file, made.key_file, ("192.0.2.1",))]
    monkeypatch.setattr(nginx_site, "current_site", lambda: live[-1])
    monkeypatch.setattr(nginx_site, "activate", live.append)
    monkeypatch.setattr(actions, "own_names", lambda: ["192.0.2.7", "box.local"])
    return live


def test_a_tried_address_gets_a_certificate_and_a_site(
    monkeypatch: pytest.MonkeyPatch, host: list[nginx_site.Site]
) -> None:
    monkeypatch.setattr(address, "apply_answer", lambda _plan: Switch("br0", "192.0.2.7", 120.0))
    form = {"method": "static", "address": "192.0.2.7/24", "gateway": "192.0.2.1"}
    answer = actions.switch(CONTEXT, form)
    assert answer == {"pending": True, "address": "192.0.2.7", "seconds_left": 120.0}
    assert host[-1].host_names == ("192.0.2.7", "box.local")
    assert "192.0.2.7" in certificate.names_of(certificate.load(host[-1].cert_file))


def test_a_public_name_stays_when_addresses_change(host: list[nginx_site.Site]) -> None:
    first = host[0]
    host.append(FinalSite(first.cert_file, first.key_file, ("host.example.org", "192.0.2.1")))
    actions.follow_addresses()
    assert isinstance(host[-1], FinalSite)
    assert host[-1].host_names == ("192.0.2.7", "box.local", "host.example.org")


def test_nothing_to_change_is_not_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "apply_answer", lambda _plan: None)
    assert actions.switch(CONTEXT, {"method": "dhcp"}) == {"pending": False}


def test_bad_answer_is_refused_before_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AnswerError, match="neither dhcp nor static"):
        actions.switch(CONTEXT, {"method": "magic"})


def test_dhcp_confirms_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[NetworkPlan] = []

    def apply(plan: NetworkPlan) -> Switch:
        asked.append(plan)
        return Switch("eth0", "192.0.2.7", 120.0)

    confirmed: list[bool] = []
    monkeypatch.setattr(address, "apply_answer", apply)
    monkeypatch.setattr(address, "confirm", lambda: confirmed.append(True))
    assert actions.dhcp(CONTEXT, {"interface": "eth0"})["ip"] == "192.0.2.7"
    assert (asked[0].interface, confirmed) == ("eth0", [True])


def test_the_worker_finds_them_without_any_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "revert", lambda: True)
    answer = finalize_plan.act(CONTEXT, {"name": "network-revert", "params": {}})
    assert answer == {"reverted": True}
