"""Our own steps: their files, their checks, and what they say when something is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blockhost import config_files
from blockhost.config_files import DB, HTTPS, read_config, write_config
from blockhost.errors import BlockhostError, StepFailed
from blockhost.pipeline.context import StepContext
from blockhost.secret import Secret
from installer.finalize.steps import complete, https, ipv6, signup, validate
from installer.tls.local_ca import Certificate
from installer.vault import Vault

FAKES = Path(__file__).resolve().parents[2] / "testing/fakes/bin"
SIGNATURE = "0x5160e7" + "ab" * 40


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BLOCKHOST_ROOT", str(tmp_path))
    monkeypatch.setenv("BLOCKHOST_DRY_RUN", "1")
    monkeypatch.setenv("BLOCKHOST_PATH", f"{tmp_path}/bin:{FAKES}:/usr/sbin:/usr/bin:/sbin:/bin")
    for directory in ("etc/blockhost", "var/lib/blockhost", "run/blockhost", "bin", "etc/sysctl.d"):
        (tmp_path / directory).mkdir(parents=True)
    return tmp_path


def _context(step_id: str, config: dict[str, Any], **secrets: str) -> StepContext:
    values = {name: Secret(value) for name, value in secrets.items()}
    return StepContext(step_id=step_id, config=config, secrets=values)


def _program(machine: Path, name: str, text: str) -> None:
    path = machine / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


# --- ipv6 --------------------------------------------------------------------------------------


def test_without_ipv6_nothing_is_touched(machine: Path) -> None:
    context = _context("ipv6", {"ipv6": {"mode": "none"}})
    assert ipv6.is_ready(context)
    assert context.data == {"prefix": "", "mode": "none"}
    assert not DB.path.exists()


def test_a_manual_prefix_becomes_a_pool_and_is_forwarded(machine: Path) -> None:
    write_config(DB, {"bridge": "br0"})
    (machine / "run/blockhost/bridge").write_text("br0\n")
    context = _context("ipv6", {"ipv6": {"mode": "manual", "prefix": "2001:db8:1::/64"}})
    assert not ipv6.is_ready(context)
    ipv6.run(context)
    assert ipv6.is_ready(context)
    assert read_config(DB) == {
        "bridge": "br0",
        "ipv6_pool": {"start": "2001:db8:1::2", "end": "2001:db8:1::ffff"},
    }
    assert (machine / "etc/sysctl.d/60-blockhost-ipv6.conf").read_text() == (
        "net.ipv6.conf.br0.accept_ra = 2\nnet.ipv6.conf.all.forwarding = 1\n"
    )


@pytest.mark.parametrize(
    ("prefix", "end"), [("2001:db8::/120", "2001:db8::ff"), ("2001:db8::/48", "2001:db8::ffff")]
)
def test_a_pool_stays_inside_its_prefix_and_searchable(prefix: str, end: str) -> None:
    from ipaddress import IPv6Network

    assert ipv6.pool(IPv6Network(prefix)) == {"start": "2001:db8::2", "end": end}


def test_a_broker_needs_its_client(machine: Path) -> None:
    with pytest.raises(StepFailed) as failure:
        ipv6.run(_context("ipv6", {"ipv6": {"mode": "broker", "allocation_size": 64}}))
    assert "not installed" in str(failure.value)
    assert "manual" in failure.value.hint


def test_a_lease_is_not_asked_for_twice(machine: Path) -> None:
    file = machine / "etc/blockhost/broker-allocation.json"
    lease = json.dumps({"prefix": "2001:db8:7::/64"})
    _program(machine, "broker-client", f"echo \"$1\" >> {machine}/asked; echo '{lease}' > {file}")
    write_config(DB, {})
    answer = {"mode": "broker", "allocation_size": 64, "broker_registry": ""}
    for _ in range(2):
        ipv6.run(_context("ipv6", {"ipv6": answer}))
    assert (machine / "asked").read_text().split() == ["request", "install"]
    context = _context("ipv6", {"ipv6": answer})
    assert ipv6.is_ready(context)
    assert context.data == {"prefix": "2001:db8:7::/64", "mode": "broker"}


# --- https -------------------------------------------------------------------------------------


def test_the_local_authority_serves_at_once(machine: Path) -> None:
    context = _context("https", {"network": {"hostname": "box.internal"}})
    assert not https.is_in_place(context)
    https.run(context)
    document = read_config(HTTPS)
    assert (document["hostname"], document["tls_mode"]) == ("box.internal", "local-ca")
    assert "fallback_reason" not in document
    assert https.is_in_place(context)
    assert context.config["https"] == document


def test_a_refusal_of_the_public_authority_is_no_failure(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str, *, email: str = "") -> Certificate:
        raise BlockhostError(f"port 80 of {name} is closed")

    monkeypatch.setattr(https.acme, "obtain", refuse)
    context = _context("https", {"network": {"hostname": "box.example.org"}})
    https.run(context)
    document = read_config(HTTPS)
    assert (document["tls_mode"], document["fallback_reason"]) == (
        "local-ca", "port 80 of box.example.org is closed",
    )  # fmt: skip
    assert https.is_in_place(context)


def test_a_public_certificate_replaces_the_local_one(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def obtain(name: str, *, email: str = "") -> Certificate:
        assert email == "ops@example.org"
        for file in ("public.crt", "public.key"):
            (machine / file).write_text("pem")
        return Certificate(machine / "public.crt", machine / "public.key", "AA")

    monkeypatch.setattr(https.acme, "obtain", obtain)
    config = {"network": {"hostname": "box.example.org", "acme_email": "ops@example.org"}}
    https.run(_context("https", config))
    document = read_config(HTTPS)
    assert (document["tls_mode"], document["cert_file"]) == ("letsencrypt", str(machine / "public.crt"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("box.example.org", True), ("8.8.8.8", True), ("2606:4700::1", True), ("box", False),
        ("box.local", False), ("box.lan", False), ("10.0.0.1", False), ("fe80::1", False),
        ("192.0.2.1", False),
    ],
)  # fmt: skip
def test_only_public_names_are_asked_for(name: str, *, expected: bool) -> None:
    assert https.is_public(name) is expected


def test_the_brokers_zone_names_the_host(machine: Path) -> None:
    allocation = {"prefix": "2001:db8::100/120", "dns_zone": "hosts.example.org"}
    write_config(config_files.BROKER_ALLOCATION, allocation)
    assert https.choose_hostname(_context("https", {})) == ("101.hosts.example.org", True)


# --- signup ------------------------------------------------------------------------------------


def test_the_signup_page_is_made_by_the_engine(machine: Path) -> None:
    _program(machine, "blockhost-generate-signup", 'echo "<html>join</html>" > "$2"')
    context = _context("signup", {"https": {"hostname": "2001:db8::1"}})
    signup.run(context)
    assert signup.page().read_text() == "<html>join</html>\n"
    assert signup.page().stat().st_mode & 0o777 == 0o644
    assert context.data == {"url": "https://[2001:db8::1]/"}


@pytest.mark.parametrize("body", ["exit 0", 'echo nothing > "$2"'])
def test_a_command_without_a_page_is_a_failure(machine: Path, body: str) -> None:
    _program(machine, "blockhost-generate-signup", body)
    with pytest.raises(StepFailed, match="without a page"):
        signup.run(_context("signup", {}))
    assert not signup.page().exists()


# --- finalize ----------------------------------------------------------------------------------

KNOCK = {"enabled": True, "knock_command": "open", "knock_ports": [22, 443], "knock_timeout": 60}


def test_admin_commands_have_the_contracts_form() -> None:
    assert complete.admin_commands({"enabled": False}) == {"commands": {}}
    command = complete.admin_commands(KNOCK)["commands"]["open"]
    assert (command["action"], command["params"]) == (
        "knock", {"allowed_ports": [22, 443], "default_duration": 60},
    )  # fmt: skip


@pytest.fixture
def units(machine: Path) -> Path:
    """A systemctl that notes which units were enabled; nothing is started."""
    noted = machine / "units"
    noted.touch()
    answer = f'grep -qx "$unit" {noted}'
    _program(
        machine,
        "systemctl",
        f'for unit; do :; done; case $1 in is-*) {answer};; *) echo "$unit" >> {noted};; esac',
    )
    return noted


def test_finalize_writes_enables_and_wipes(machine: Path, units: Path) -> None:
    Vault().keep("admin_signature", SIGNATURE)
    write_config(HTTPS, {})
    HTTPS.path.chmod(0o666)
    context = _context("finalize", {"admin_commands": KNOCK}, admin_signature=SIGNATURE)
    assert not complete.is_done(context)
    complete.STEP.apply(context)
    assert complete.is_done(context)
    assert read_config(config_files.ADMIN_SIGNATURE).strip() == SIGNATURE
    assert HTTPS.path.stat().st_mode & 0o777 == HTTPS.mode
    assert units.read_text().split() == list(complete.SERVICES)
    assert Vault().names() == []
    assert list((machine / "var/lib/blockhost-setup").glob("vault*")) == []


def test_finalize_again_after_the_wipe_needs_no_secret(units: Path) -> None:
    Vault().keep("admin_signature", SIGNATURE)
    complete.STEP.apply(_context("finalize", {}, admin_signature=SIGNATURE))
    complete.STEP.apply(_context("finalize", {}))
    assert complete.is_done(_context("finalize", {}))


def test_finalize_without_any_signature_says_what_to_do(machine: Path) -> None:
    with pytest.raises(StepFailed) as failure:
        complete.STEP.apply(_context("finalize", {}))
    assert "wallet page" in failure.value.hint


@pytest.mark.parametrize(
    "spoil",
    [
        lambda machine: config_files.ADMIN_SIGNATURE.path.chmod(0o644),
        lambda machine: config_files.ADMIN_SIGNATURE.path.unlink(),
        lambda machine: config_files.ADMIN_COMMANDS.path.write_text("{}"),
        lambda machine: Vault().keep("left", "behind"),
        lambda machine: (machine / "units").write_text("nginx.service\n"),
    ],
)
def test_the_check_of_finalize_sees_what_is_missing(
    machine: Path, units: Path, spoil: Callable[[Path], Any]
) -> None:
    context = _context("finalize", {}, admin_signature=SIGNATURE)
    complete.STEP.apply(context)
    assert complete.is_done(context)
    spoil(machine)
    assert not complete.is_done(context)


# --- validate ----------------------------------------------------------------------------------


def test_validate_fails_with_the_names_of_the_checks(machine: Path) -> None:
    with pytest.raises(StepFailed) as failure:
        validate.run(_context("validate", {}))
    assert "FILE-NEED-01" in str(failure.value)
    report = json.loads((machine / "var/lib/blockhost/validation-output.json").read_text())
    assert report["success"] is False
    assert "FAIL  FILE-NEED-01" in (machine / "var/lib/blockhost/validation-output.txt").read_text()
    assert {check["id"] for check in report["checks"]} >= {"SVC-UP-01", "TLS-SERVED-01", "VM-LIST-01"}


@pytest.mark.parametrize("step", [ipv6.STEP, https.STEP, signup.STEP, complete.STEP, validate.STEP])
def test_every_step_tells_its_plan_without_touching_anything(machine: Path, step: Any) -> None:
    before = sorted(machine.rglob("*"))
    config = {
        "ipv6": {"mode": "manual", "prefix": "2001:db8::/64"},
        "network": {"hostname": "box.example.org"},
    }
    assert step.plan(_context(step.id, config))
    kept = [path for path in sorted(machine.rglob("*")) if "fake-programs" not in str(path)]
    assert [path for path in kept if path not in before] == [] or step is https.STEP
