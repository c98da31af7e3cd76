"""`blockhost-setup` as a program: exit codes, formats, the published schema, export, support bundle."""

from __future__ import annotations

import json
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from blockhost import command
from blockhost.files import write_sealed
from installer.answers import Answers, placeholder, split_secrets
from installer.finalize import run as runs
from installer.setup_cli import main, support
from installer.setup_cli.commands import ALL
from installer.setup_cli.plugins import find_plugins
from installer.vault import Vault

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "testing" / "answers").glob("*.yaml"))
PUBLISHED = ROOT / "docs" / "reference" / "answers.schema.json"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty appliance without plugins of its own: the source tree's are used."""
    monkeypatch.setenv("BLOCKHOST_ROOT", str(tmp_path / "root"))
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


# --- the program --------------------------------------------------------------------------------


def test_it_starts_on_the_appliance_s_python() -> None:
    """Without the test environment: what Debian packages is enough."""
    env = {"PYTHONPATH": f"{ROOT / 'packages/common'}:{ROOT}"}
    said = command.run(["/usr/bin/python3", "-m", "installer.setup_cli", "--version"], env=env)
    assert said.startswith("blockhost-setup ")


@pytest.mark.parametrize("arguments", [["--help"], ["apply", "--help"], ["--version"]])
def test_help_goes_to_stdout(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    out, error = capsys.readouterr()
    assert "blockhost-setup" in out
    assert error == ""


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for module in ALL:
        name = module.__name__.rpartition(".")[2]
        with pytest.raises(SystemExit) as caught:
            main([name, "--help"])
        assert caught.value.code == 0
        assert name in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["apply"], ["validate"], ["status", "--otp", "a", "--otp-file", "b"]],
)
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["status", "retry", "reset", "logs"])
def test_without_a_worker_the_way_out_is_told(
    name: str, host: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name]) == 1
    error = capsys.readouterr().err
    assert "no setup worker runs" in error
    assert "--url" in error


def test_url_without_fingerprint_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--url", "https://192.0.2.1"]) == 1
    assert "--fingerprint" in capsys.readouterr().err


def test_colour_and_bars_are_for_terminals_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(tmp_path / "none.yaml")]) == 1
    assert "\x1b" not in capsys.readouterr().err


# --- validate and schema ------------------------------------------------------------------------


def test_valid_files_are_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", *map(str, EXAMPLES)]) == 0
    assert f"{len(EXAMPLES)} of {len(EXAMPLES)} valid" in capsys.readouterr().out


def test_all_faults_of_all_files_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: 1\nstoragge: {disk: sda}\n")
    assert main(["validate", str(EXAMPLES[0]), str(bad), str(tmp_path / "none.yaml")]) == 1
    out, error = capsys.readouterr()
    assert f"{bad}:2: storagge: unknown key; did you mean 'storage'?" in error
    assert "none.yaml: No such file" in error
    assert "1 of 3 valid" in out


def test_json_is_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: 1\nwallet: {key: k}\n")
    assert main(["validate", "--format", "json", str(bad)]) == 1
    document = json.loads(capsys.readouterr().out)
    places = [(problem["line"], problem["where"]) for problem in document["files"][0]["problems"]]
    assert (2, "wallet.public_secret") in places
    assert document["valid"] is False


def test_strict_takes_warnings_for_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sign", "--key", str(tmp_path / "key"), "--generate-key", "-q"]) == 0
    document = {**yaml.safe_load(EXAMPLES[0].read_text()), **yaml.safe_load(capsys.readouterr().out)}
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(document))
    path.chmod(0o644)
    assert main(["validate", str(path)]) == 0
    assert "warning: " in capsys.readouterr().err
    assert main(["validate", "--strict", str(path)]) == 1
    path.chmod(0o600)
    assert main(["validate", "--strict", str(path)]) == 0


def schema() -> dict[str, Any]:
    return dict(json.loads(PUBLISHED.read_text()))


def test_the_published_schema_is_what_the_tables_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == PUBLISHED.read_text(), (
        "run: blockhost-setup schema > docs/reference/answers.schema.json"
    )


def test_the_published_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_schema_takes_what_validate_takes(path: Path) -> None:
    jsonschema.validate(yaml.safe_load(path.read_text()), schema())


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"nonsense": 1},
        {"storage": {"disk": "sda1"}},
        {"storage": {}},
        {"network": {"method": "static"}},
        {"network": {"method": "dhcp", "gateway": "10.0.0.1"}},
        {"network": {"method": "dhcp", "hostnam": "x"}},
        {"ipv6": {"ipv6_mode": "manual"}},
        {"ipv6": {"ipv6_mode": "none", "manual_prefix": "2001:db8::/64"}},
        {"ipv6": {"ipv6_mode": "none", "allocation_size": 47}},
        {"admin_commands": {"admin_enabled": True}},
        {"admin_commands": {"admin_enabled": "no", "knock_timeout": 5}},
        {"wallet": {"key": "k"}},
        {"wallet": {"admin_wallet": "a", "public_secret": "b"}},
        {"engine": {"name": "other"}},
        {"provisioner": {"name": "libvirt", "storage_pol": "x"}},
    ],
)
def test_schema_and_validate_refuse_alike(change: dict[str, Any], tmp_path: Path) -> None:
    document = {**yaml.safe_load((ROOT / "testing/answers/local-libvirt.yaml").read_text()), **change}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema())
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(document))
    assert main(["validate", str(path)]) == 1


# --- plan and sign ------------------------------------------------------------------------------


def test_a_plan_needs_no_appliance(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--format", "json", str(ROOT / "testing/answers/local-libvirt.yaml")]) == 0
    plan = json.loads(capsys.readouterr().out)
    ids = [step["id"] for step in plan["steps"]]
    assert (
        ids.index("storage")
        < ids.index("ipv6")
        < ids.index("https")
        < ids.index("nginx")
        < ids.index("validate")
    )
    assert len(plan["hash"]) == 64
    assert any(change["target"] for step in plan["steps"] for change in step["changes"])
    assert list(host.rglob("*")) == [], "nothing was changed"


def test_a_plan_depends_on_the_answers(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hashes = set()
    for path in (
        ROOT / "testing/answers/local-libvirt.yaml",
        ROOT / "testing/answers/local-libvirt-ipv6.yaml",
    ):
        assert main(["plan", "--format", "json", str(path)]) == 0
        hashes.add(json.loads(capsys.readouterr().out)["hash"])
    assert len(hashes) == 2


def test_sign_writes_a_section_that_validates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "key"
    assert main(["sign", "--key", str(key), "--generate-key"]) == 0
    section = yaml.safe_load(capsys.readouterr().out)
    document = {**yaml.safe_load(EXAMPLES[0].read_text()), **section}
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(document))
    assert main(["validate", str(path)]) == 0
    document["wallet"]["public_secret"] = "another text"
    path.write_text(yaml.safe_dump(document))
    capsys.readouterr()
    assert main(["validate", str(path)]) == 1
    assert "wallet.admin_signature" in capsys.readouterr().err


def test_a_wallet_of_somebody_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sections = []
    for name in ("mine", "theirs"):
        assert main(["sign", "--key", str(tmp_path / name), "--generate-key", "-q"]) == 0
        sections.append(yaml.safe_load(capsys.readouterr().out)["wallet"])
    wallet = {**sections[0], "admin_wallet": sections[1]["admin_wallet"]}
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(EXAMPLES[0].read_text()), "wallet": wallet}))
    assert main(["validate", str(path)]) == 1
    error = capsys.readouterr().err
    assert sections[0]["admin_wallet"] in error
    assert sections[1]["admin_wallet"] in error
    assert "BEGIN SSH" not in error


# --- export -------------------------------------------------------------------------------------


@pytest.fixture
def started(host: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """A host whose run was started with real answers; what went in."""
    assert main(["sign", "--key", str(tmp_path / "key"), "--generate-key", "-q"]) == 0
    wallet = yaml.safe_load(capsys.readouterr().out)
    given = {**yaml.safe_load((ROOT / "testing/answers/local-libvirt-static.yaml").read_text()), **wallet}
    path = tmp_path / "given.yaml"
    path.write_text(yaml.safe_dump(given))
    plugins = find_plugins(path)
    session = Answers.from_file(path, plugins).to_session()
    public, secrets = split_secrets(session, plugins.engine_manifest, plugins.provisioner_manifest)
    for name, secret in secrets.items():
        Vault().keep(name, secret)
    runs.header_file().parent.mkdir(parents=True)
    runs.save_header(runs.Header.new(public, {}, (), ""))
    return session


def exported(tmp_path: Path, text: str) -> dict[str, Any]:
    path = tmp_path / "exported.yaml"
    path.write_text(text)
    return Answers.from_file(path, find_plugins(path)).to_session()


def test_export_is_what_went_in(
    started: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--secrets"]) == 0
    text = capsys.readouterr().out
    assert exported(tmp_path, text) == started
    jsonschema.validate(yaml.safe_load(text), schema())


def test_export_without_secrets_reads_again_with_their_file(
    started: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export"]) == 0
    text = capsys.readouterr().out
    assert "BEGIN SSH" not in text
    jsonschema.validate(yaml.safe_load(text), schema())
    (tmp_path / "admin_signature").write_text(started["admin_signature"] + "\n")
    assert exported(tmp_path, text) == started


def test_export_finds_the_signature_after_the_end(
    started: dict[str, Any], host: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (host / "etc/blockhost").mkdir(parents=True)
    (host / "etc/blockhost/admin-signature.key").write_text(started["admin_signature"])
    Vault().wipe()
    assert main(["export", "--secrets"]) == 0
    assert exported(tmp_path, capsys.readouterr().out) == started


def test_export_before_a_start_says_so(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export"]) == 1
    assert "no setup was started" in capsys.readouterr().err


def test_export_of_a_damaged_record_names_file_and_remedy(
    started: dict[str, Any], host: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (host / "var/lib/blockhost").glob("setup-state.json*"):
        path.write_text("garbage")
    assert main(["export"]) == 1
    assert "setup-state.json" in capsys.readouterr().err


# --- support bundle -----------------------------------------------------------------------------

CANARIES = {
    "vault": "canary-vault-7f3a",
    "file": "canary-file-91bd",
    "yaml": "canary-yaml-5c20",
    "otp": "CANARYOT",
    "name": "canary-name-88ee",
    "line": "canary-line-4d4d",
    "multi": "canary-multi-aaaa\ncanary-multi-bbbb",
}


@pytest.fixture
def leaky(host: Path) -> Path:
    """A host that has every canary in its secrets and in its logs."""
    Vault().keep("deployer_key", CANARIES["vault"])
    Vault().keep("admin_signature", CANARIES["multi"])
    etc, run = host / "etc/blockhost", host / "run/blockhost"
    logs, records = host / "var/lib/blockhost-setup/logs/r1", host / "var/lib/blockhost-setup/finalize/r1"
    for directory in (etc, run, logs, records, host / "var/log"):
        directory.mkdir(parents=True)
    (etc / "server.key").write_text(CANARIES["file"] + "\n")
    (etc / "blockhost.yaml").write_text(f"server:\n  key_file: x\nprivate_token: {CANARIES['yaml']}\n")
    (run / "otp.json").write_text(json.dumps({"code": CANARIES["otp"]}))
    everything = "\n".join(CANARIES[key] for key in ("vault", "file", "yaml", "otp", "multi"))
    (logs / "https.log").write_text(f"a line\n{everything}\npassword: {CANARIES['line']}\n")
    record = {"record": {"config": {"api_token": CANARIES["name"]}, "intent": {"nonce": 7}}}
    (records / "https.done").write_text(json.dumps(record))
    (host / "var/log/blockhost-firstboot.log").write_text("first boot\n" + everything)
    return host


def members(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        found = {}
        for info in archive.getmembers():
            file = archive.extractfile(info)
            assert file is not None
            found[info.name] = file.read().decode()
        return found


def test_a_bundle_holds_records_and_logs_but_no_secret(
    leaky: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "bundle.tar.gz"
    assert main(["bundle", "-o", str(output)]) == 0
    assert capsys.readouterr().out.strip() == str(output)
    assert output.stat().st_mode & 0o777 == 0o600
    found = members(output)
    assert "a line" in found["blockhost-support/logs/steps/r1/https.log"]
    assert "first boot" in found["blockhost-support/logs/blockhost-firstboot.log"]
    assert '"nonce": 7' in found["blockhost-support/records/finalize/r1/https.done"]
    assert "blockhost-support/system/uname.txt" in found
    text = "\n".join(found.values())
    for name, canary in CANARIES.items():
        for line in canary.splitlines():
            assert line not in text, name


def test_a_bundle_says_what_it_lacks(host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKHOST_PATH", str(tmp_path))  # no program is found
    output = tmp_path / "bundle.tar.gz"
    assert main(["bundle", "-q", "-o", str(output)]) == 0
    gaps = members(output)[f"blockhost-support/{support.GAPS}"]
    assert "system/journal.txt: journalctl: not found" in gaps


def test_a_damaged_vault_does_not_stop_the_bundle(leaky: Path, tmp_path: Path) -> None:
    for path in (leaky / "var/lib/blockhost-setup").glob("vault.json*"):
        path.write_text("garbage")
    output = tmp_path / "bundle.tar.gz"
    assert main(["bundle", "-q", "-o", str(output)]) == 0
    assert "vault:" in members(output)[f"blockhost-support/{support.GAPS}"]


def test_placeholders_stay_readable_in_a_bundle() -> None:
    hidden = support.hide_by_name({"admin_signature": placeholder("admin_signature"), "rpc_token": "abcdef"})
    assert hidden == {"admin_signature": {"$secret": "admin_signature"}, "rpc_token": "[redacted]"}


def test_a_long_log_keeps_its_end(host: Path, tmp_path: Path) -> None:
    log = host / "var/log/blockhost-firstboot.log"
    log.parent.mkdir(parents=True)
    log.write_text("old\n" + "x" * 99 + "\n" + ("y" * 99 + "\n") * 10000 + "the end\n")
    started = time.monotonic()
    text = support.collect()["logs/blockhost-firstboot.log"].decode()
    assert text.endswith("the end\n")
    assert "old" not in text
    assert time.monotonic() - started < 30


def test_output_survives_a_closed_pipe() -> None:
    env = {"PYTHONPATH": f"{ROOT / 'packages/common'}:{ROOT}"}
    script = f"{sys.executable} -m installer.setup_cli schema | head -1"
    done = command.probe(["bash", "-o", "pipefail", "-c", script], env=env)
    assert done.stdout == "{\n"
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_sealed_files_are_not_taken_for_secrets(host: Path) -> None:
    path = host / "var/lib/blockhost/setup-state.json"
    path.parent.mkdir(parents=True)
    write_sealed(path, {"run_id": "abc", "answers": {"disk": "/dev/vda"}}, mode=0o600)
    assert b"/dev/vda" in support.collect()["records/setup-state.json"]
