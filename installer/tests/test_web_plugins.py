"""Plugins in the wizard: old ones load unchanged, broken ones cost their own page only."""

from __future__ import annotations

import json

import pytest

from testing.fakes.plugins import manifests

BROKEN = {
    "lacking": (
        manifests.engine("lacking", "lacking_engine"),
        "lacking",
        [
            "lacks get_finalization_steps",
            "lacks get_post_finalization_steps",
            "lacks get_summary_template",
            "validate_address is not a function",
        ],
    ),
    "raising": (
        manifests.engine("raising", "raising_engine"),
        "raising",
        ["cannot be imported: RuntimeError: the plugin&#39;s own library is missing"],
    ),
    "exiting": (manifests.engine("exiting", "exiting_engine"), "exiting", ["SystemExit: 3"]),
    "absent module": (manifests.engine("gone", "no_such_module"), "gone", ["No module named"]),
    "no page": (
        manifests.engine("pageless", "pageless_engine"),
        "pageless",
        ["does not serve POST /wizard/pageless"],
    ),
    "reserved name": (
        manifests.engine("network", "legacy_engine"),
        "engine",
        ["belongs to a page of the wizard"],
    ),
    "no manifest": (None, "engine", ["engine.json"]),
    "garbage": ("{", "engine", ["engine.json"]),
    "wrong field": (manifests.engine("x", "legacy_engine", version=3), "engine", ["$.version"]),
}


@pytest.fixture
def legacy(open_site):
    open_site.answer("wallet", "network", "storage")
    return open_site


def test_legacy_page_renders_with_its_own_template(legacy) -> None:
    answer = legacy.get("/wizard/legacychain")
    assert answer.status_code == 200
    assert "Legacychain" in answer.text
    assert 'href="/wizard/storage"' in answer.text
    assert 'aria-current="step"' in answer.text


def test_legacy_redirect_by_endpoint_name_goes_where_the_flow_allows(legacy) -> None:
    answer = legacy.post("/wizard/legacychain", data={"rpc_url": "https://rpc.example"})
    assert answer.location == "/wizard/ipv6"
    assert legacy.get(answer.location).location == "/wizard/plain"


def test_legacy_secret_never_returns_to_its_page(legacy) -> None:
    legacy.post("/wizard/legacychain", data={"rpc_url": "https://rpc.example", "deployer_key": "s3cr3t"})
    assert legacy.worker.secrets["deployer_key"] == "s3cr3t"
    text = legacy.get("/wizard/legacychain").text
    assert "s3cr3t" not in text
    assert "$secret" not in text
    assert 'name="deployer_key" value=""' in text
    assert legacy.sessions()[0]["blockchain"]["deployer_key"] == {"$secret": "deployer_key"}


def test_legacy_empty_secret_is_not_handed_over(legacy) -> None:
    legacy.post("/wizard/legacychain", data={"rpc_url": "https://rpc.example"})
    assert "deployer_key" not in legacy.worker.secrets
    assert legacy.sessions()[0]["blockchain"]["deployer_key"] == ""


def test_plugin_that_raises_costs_its_own_route(legacy, caplog) -> None:
    answer = legacy.get("/api/blockchain/boom")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text
    assert legacy.get("/wizard/network").status_code == 200


@pytest.mark.parametrize("case", BROKEN)
def test_broken_engine_is_named_completely_and_the_rest_works(make_site, case: str) -> None:
    manifest, page, faults = BROKEN[case]
    site = make_site(engine=manifest)
    site.log_in()
    for name in ("network", "storage", "plain", "ipv6", "admin-commands"):
        session_answer = site.get(f"/wizard/{name}")
        assert session_answer.status_code in (200, 303), name
    # Without an engine the wallet cannot be proven, and says so instead of failing.
    if manifest is None or case in ("garbage", "wrong field"):
        answer = site.post(
            "/wizard/wallet", data={"admin_wallet": "a", "admin_signature": "b", "public_secret": "c"}
        )
        assert answer.status_code == 422
        assert "engine plugin is broken" in answer.text
    text = _open_broken_page(site, page)
    for fault in faults:
        assert fault in text, text


def _open_broken_page(site, page: str) -> str:
    """It lies behind pages that need a sound engine: answer those in the session file."""
    file = next(iter(site.session_dir.iterdir()))
    document = json.loads(file.read_text())
    document |= {
        "admin_wallet": "a",
        "admin_signature": {"$secret": "admin_signature"},
        "network": {},
        "selected_disk": "/dev/vda",
    }
    file.write_text(json.dumps(document))
    answer = site.get(f"/wizard/{page}")
    assert answer.status_code == 503
    assert site.get("/wizard/plain").status_code == 200
    assert site.get("/wizard/summary").status_code == 303
    return answer.text


def test_broken_provisioner_leaves_the_engine(make_site) -> None:
    site = make_site(provisioner=manifests.provisioner("sad", "no_such_module"))
    site.log_in()
    site.answer("wallet", "network", "storage", "legacychain")
    answer = site.get("/wizard/sad")
    assert answer.status_code == 503
    assert "no_such_module" in answer.text
    site.answer("ipv6", "admin-commands")
    assert site.get("/wizard/summary").location == "/wizard/sad"
    assert site.post("/api/finalize", json={}).status_code == 422
    assert site.worker.started is None


def test_two_plugins_of_one_name_or_key_are_refused(make_site) -> None:
    site = make_site(provisioner=manifests.provisioner("legacychain", "plain_provisioner"))
    assert site.wizard.plugins.provisioner is None
    assert "both called" in site.wizard.plugins.problem_of("provisioner").message
    assert site.wizard.plugins.engine is not None
