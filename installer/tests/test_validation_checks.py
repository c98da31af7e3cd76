"""Validation checks: ids are unique, each fails for its own reason, a broken one costs itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from blockhost import command, config_files, wall_clock
from blockhost.checks import Check, CheckContext, Finding, run_checks
from blockhost.config_files import write_config
from installer.finalize import run
from installer.validation import report
from installer.vault import Vault
from testing.fakes.clocks import Clocks

FAKES = Path(__file__).resolve().parents[2] / "testing/fakes/bin"


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BLOCKHOST_ROOT", str(tmp_path))
    monkeypatch.setenv("BLOCKHOST_DRY_RUN", "1")
    monkeypatch.setenv("BLOCKHOST_PATH", f"{FAKES}:/usr/sbin:/usr/bin:/sbin:/bin")
    for directory in ("etc/blockhost", "var/lib/blockhost"):
        (tmp_path / directory).mkdir(parents=True)
    return tmp_path


def _find(check_id: str, config: dict[str, object] | None = None) -> Finding:
    found = {check.id: check for module in report.CORE for check in module.checks()}
    (result,) = run_checks([found[check_id]], CheckContext(config or {})).results
    return result.finding


def test_every_check_has_an_id_of_its_own_a_label_and_a_fix() -> None:
    found = [check for module in report.CORE for check in module.checks()]
    assert len({check.id for check in found}) == len(found)
    assert all(check.label and check.fix for check in found)


def test_a_missing_file_is_named(machine: Path) -> None:
    assert "db.yaml is missing" in _find("FILE-NEED-01").evidence
    write_config(config_files.DB, {})
    assert _find("FILE-NEED-01").ok


def test_a_wrong_mode_is_named(machine: Path) -> None:
    write_config(config_files.DB, {})
    assert _find("FILE-MODE-01").ok
    config_files.DB.path.chmod(0o644)
    assert "db.yaml (expected 640" in _find("FILE-MODE-01").evidence


def test_a_secret_left_behind_is_found() -> None:
    assert _find("FILE-SECRET-01").ok
    Vault().keep("key", "value-of-it")
    finding = _find("FILE-SECRET-01")
    assert not finding.ok
    assert "key" in finding.evidence
    assert "value-of-it" not in finding.evidence


def test_a_signature_in_the_header_is_found() -> None:
    run.save_header(run.Header("r", 1.0, {"admin_signature": "0xabc"}, {}, ()))
    assert not _find("FILE-SECRET-01").ok
    run.save_header(run.Header("r", 1.0, {"admin_signature": {"$secret": "admin_signature"}}, {}, ()))
    assert _find("FILE-SECRET-01").ok


def test_a_service_that_is_down_is_seen() -> None:
    finding = _find("SVC-UP-02")
    assert (finding.ok, finding.evidence) == (False, "inactive, disabled")


def test_the_network_is_looked_at() -> None:
    assert "enp1s0 192.0.2.10" in _find("NET-ADDR-01").evidence
    assert _find("NET-ROUTE-02").evidence == "192.0.2.1"
    assert not _find("NET-DNS-03").ok


def test_a_firewall_that_lets_in_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nft really says is in testing/integration/test_firewall_validation.py."""
    assert _find("FW-DROP-02").ok
    monkeypatch.setenv("BLOCKHOST_PATH", "/nowhere")
    assert not _find("FW-DROP-02").ok


def test_a_firewall_that_will_not_come_back_is_seen() -> None:
    assert _find("FW-UP-01") == Finding(ok=True, evidence="active, enabled")
    command.run(["systemctl", "disable", "blockhost-firewall.service"])
    assert not _find("FW-UP-01").ok


def test_a_clock_in_doubt_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks.install(monkeypatch)
    wall_clock.trust()
    assert _find("CLOCK-RELY-01") == Finding(ok=True, evidence="not synchronised by a time server")
    clocks.jump(-86_400)
    assert "cannot be relied on" in _find("CLOCK-RELY-01").evidence
    assert not _find("CLOCK-RELY-01").ok


def test_forwarding_matters_only_where_vms_have_ipv6() -> None:
    assert _find("NET-FWD-04", {"ipv6": {"mode": "none"}}).ok
    assert not _find("NET-FWD-04", {"ipv6": {"mode": "manual"}}).ok


def test_nothing_served_is_an_error_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKHOST_HTTPS_PORT", "1")
    monkeypatch.setenv("BLOCKHOST_HTTP_PORT", "1")
    for check_id in ("TLS-SERVED-01", "TLS-VALID-02", "WEB-SIGNUP-04", "WEB-REDIRECT-05", "VM-LIST-01"):
        finding = _find(check_id)
        assert not finding.ok
        assert "the check itself failed" not in finding.evidence


def test_a_fallback_of_the_certificate_is_told() -> None:
    write_config(config_files.HTTPS, {"tls_mode": "local-ca", "fallback_reason": "port 80 is closed"})
    assert _find("TLS-PUBLIC-03") == Finding(ok=False, evidence="port 80 is closed")


def test_a_plugins_broken_check_costs_itself() -> None:
    def broken(context: CheckContext) -> Finding:
        raise ZeroDivisionError

    found = run_checks([Check("X-1", "x", broken), Check("X-2", "y", lambda _: Finding(ok=True))])
    assert [result.finding.ok for result in found.results] == [False, True]
