"""Answers files: what is refused and where, that all faults come at once, and the way back out."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from blockhost.errors import AnswerError
from blockhost.secret import Secret
from installer.answers import (
    Answers,
    AnswersFileError,
    OwnerKey,
    WalletAnswer,
    check_answers,
    resolve_secrets,
    split_secrets,
)
from installer.answers.documents import MAX_BYTES, Malformed, read_document
from installer.answers.export import to_document
from installer.discovery import Plugins
from installer.setup_cli.plugins import find_plugins

EXAMPLES = Path(__file__).resolve().parents[2] / "testing" / "answers"


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    found = find_plugins()
    assert found.engine is not None, found.problems
    assert found.provisioner is not None, found.problems
    return found


def example(**changes: Any) -> dict[str, Any]:
    """The published example; a change of None removes a section."""
    document = yaml.safe_load((EXAMPLES / "local-libvirt.yaml").read_text())
    for name, change in changes.items():
        if change is None:
            del document[name]
        else:
            document[name] = {**document.get(name, {}), **change} if isinstance(change, dict) else change
    return document


def faults(tmp_path: Path, plugins: Plugins, text: str | dict[str, Any]) -> list[str]:
    """What is wrong with a file, each as `LINE: WHERE: MESSAGE`."""
    path = tmp_path / "answers.yaml"
    path.write_text(text if isinstance(text, str) else yaml.safe_dump(text, sort_keys=False))
    checked = check_answers(path, plugins)
    assert (checked.answers is None) == bool(checked.problems)
    return [str(problem).removeprefix(f"{path}:").removeprefix(" ") for problem in checked.problems]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_published_examples_are_valid(path: Path, plugins: Plugins) -> None:
    checked = check_answers(path, plugins)
    assert checked.problems == ()
    assert isinstance(checked.answers, Answers)
    assert isinstance(checked.answers.wallet, OwnerKey)


def test_every_fault_is_told_with_its_line(tmp_path: Path, plugins: Plugins) -> None:
    text = """version: 1
wallet:
  key: owner
network:
  method: static
  addrez: 10.0.0.5
  gateway: 10.0.0.1
storage: {disk: sda1}
engine: {name: locale}
provisioner:
  name: libvirt
  storage_pol: x
admin_commands:
  admin_enabled: yes
  knock_ports: [22, 99999]
ipv7: {}
"""
    found = faults(tmp_path, plugins, text)
    assert [line.split(": ", 2)[:2] for line in found] == [
        ["2", "wallet.public_secret"],
        ["4", "network.address"],
        ["6", "network.addrez"],
        ["8", "storage.disk"],
        ["9", "engine.name"],
        ["10", "provisioner.ip_network"],
        ["12", "provisioner.storage_pol"],
        ["15", "admin_commands.knock_ports"],
        ["16", "ipv7"],
    ], found
    assert "did you mean 'address'?" in found[2]
    assert "did you mean 'storage_pool'?" in found[6]
    assert "did you mean 'ipv6'?" in found[8]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "empty"),
        ("- a\n", 1, "keys and values"),
        ("version: 1\nversion: 1\n", 2, "duplicate key 'version', first in line 1"),
        ("wallet:\n  key: a\n  key: b\n", 3, "duplicate key 'key', first in line 2"),
        ("a: &x 1\nb: *x\n", 1, "anchors"),
        ("a: !!python/object/apply:os.system [id]\n", 1, "tags"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("a: {b: {c: {d: {e: {f: {g: 1}}}}}}\n", 1, "nested deeper"),
        ("a: [1, 2\nb: 3\n", 2, "not YAML"),
        ("a:\n\tb: 1\n", 2, "not YAML"),
        ("? [1, 2]\n: x\n", 1, "plain word as a key"),
        ("a: \x00\n", 0, "unreadable character"),
        (b"a: 1\nb: \xff\xfe\n", 2, "not UTF-8"),
        (b"#" * (MAX_BYTES + 1), 0, "expected at most"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str | bytes, line: int, message: str) -> None:
    with pytest.raises(Malformed) as caught:
        read_document(text if isinstance(text, bytes) else text.encode())
    assert caught.value.line == line
    assert message in str(caught.value)


def test_billion_laughs_cost_nothing() -> None:
    text = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    with pytest.raises(Malformed, match="anchors"):
        read_document(text.encode())


@pytest.mark.parametrize(
    ("changes", "where", "message"),
    [
        ({"version": 2}, "version", "expected 1"),
        ({"version": None}, "version", "missing"),
        ({"storage": None}, "storage", "missing"),
        ({"wallet": None}, "wallet", "missing"),
        ({"engine": {"name": None}}, "engine.name", "missing"),
        ({"engine": {"plan_cpu": "many"}}, "engine.plan_cpu", ""),
        ({"network": "dhcp"}, "network", "keys and values"),
        ({"network": {"method": ["dhcp", "static"]}}, "network.method", "'dhcp,static'"),
        ({"network": {"interface": {"name": "eth0"}}}, "network.interface", "{file: PATH}"),
        ({"network": {"dns": ["a,b"]}}, "network.dns", "comma"),
        ({"wallet": {"admin_wallet": "SHA256:x"}}, "wallet.admin_wallet", "contradicts `key`"),
        ({"wallet": {"public_secret": {"file": "nowhere"}}}, "wallet.public_secret", "No such file"),
        ({"wallet": {"keys": "x"}}, "wallet.keys", "did you mean 'key'?"),
        ({"ipv6": {"manual_prefix": "2001:db8::/64"}}, "ipv6.manual_prefix", "manual"),
    ],
)
def test_one_fault(
    tmp_path: Path, plugins: Plugins, changes: dict[str, Any], where: str, message: str
) -> None:
    found = faults(tmp_path, plugins, example(**changes))
    assert len(found) == 1, found
    assert where in found[0]
    assert message in found[0]


def test_sections_with_a_default_may_be_left_out(tmp_path: Path, plugins: Plugins) -> None:
    path = tmp_path / "short.yaml"
    path.write_text(yaml.safe_dump(example(network=None, ipv6=None, admin_commands=None)))
    answers = Answers.from_file(path, plugins)
    assert answers.network.method == "dhcp"
    assert answers.ipv6.mode == "none"
    assert answers.admin_commands.enabled is False


def test_scalars_mean_what_is_written(tmp_path: Path, plugins: Plugins) -> None:
    """YAML 1.1 reads 0600 as 384 and 12:30 as 750; an operator does not."""
    values = read_document(b"s:\n  a: 0600\n  b: 12:30\n  c: yes\n  d: ~\n  e: [1_0, off]\n")["s"].values
    assert [values[key].text for key in "abcde"] == ["0600", "12:30", "yes", "", "1_0,no"]


WALLET = {"admin_wallet": "SHA256:" + "A" * 43, "admin_signature": "hunter2-signature", "public_secret": "x"}


def test_a_refused_secret_is_not_repeated(tmp_path: Path, plugins: Plugins) -> None:
    document = example()
    document["wallet"] = WALLET
    found = faults(tmp_path, plugins, document)
    assert [line for line in found if "wallet.admin_signature" in line]
    assert "hunter2" not in "\n".join(found)


@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o600, False)])
def test_a_secret_in_the_open_is_warned_of(tmp_path: Path, plugins: Plugins, mode: int, warned: bool) -> None:
    path = tmp_path / "answers.yaml"
    document = example()
    document["wallet"] = WALLET
    path.write_text(yaml.safe_dump(document))
    path.chmod(mode)
    warnings = check_answers(path, plugins).warnings
    assert [warning.where for warning in warnings] == (["wallet.admin_signature"] if warned else [])


def test_a_secret_in_a_file_of_its_own_lies_beside_the_answers(tmp_path: Path, plugins: Plugins) -> None:
    document = example()
    document["wallet"] = {**WALLET, "admin_signature": {"file": "sub/sig"}}
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "sig").write_text("not a signature\n")
    found = faults(tmp_path, plugins, document)
    assert len(found) == 1
    assert "expected a signature in the form of" in found[0]  # it was read, and judged


def test_a_device_is_no_answers_file(plugins: Plugins) -> None:
    assert "not a regular file" in str(check_answers(Path("/dev/zero"), plugins).problems[0])


def test_a_failing_plugin_is_a_fault_of_its_section(tmp_path: Path, plugins: Plugins) -> None:
    assert plugins.engine is not None

    class Broken:
        def __getattr__(self, name: str) -> Any:
            return getattr(plugins.engine.module, name)

        @staticmethod
        def parse_answers(form: dict[str, str]) -> dict[str, Any]:
            raise KeyError("hunter2")

    broken = dataclasses.replace(plugins, engine=dataclasses.replace(plugins.engine, module=Broken()))
    found = faults(tmp_path, broken, example())
    assert [line.split(": ")[1:3] for line in found] == [
        ["engine", "the plugin failed while reading its answers (KeyError)"]
    ]


def test_an_unreadable_file_is_one_error(tmp_path: Path, plugins: Plugins) -> None:
    with pytest.raises(AnswersFileError, match=r"none\.yaml: No such file"):
        Answers.from_file(tmp_path / "none.yaml", plugins)


def signed(answers: Answers) -> Answers:
    return answers.signed(lambda key: ("SHA256:" + "B" * 43, Secret("signature\nof two lines")))


def test_config_has_the_contract_s_keys(plugins: Plugins) -> None:
    answers = signed(Answers.from_file(EXAMPLES / "local-libvirt-static.yaml", plugins))
    assert plugins.engine is not None
    assert plugins.provisioner is not None
    config = answers.to_config(plugins.engine.manifest, plugins.provisioner.manifest)
    assert set(config) == {
        "admin_wallet",
        "admin_signature",
        "admin_public_secret",
        "network",
        "selected_disk",
        plugins.engine.manifest.session_key,
        "provisioner",
        "ipv6",
        "admin_commands",
        "_engine",
    }
    assert config["admin_commands"]["knock_ports"] == [22]
    assert config["_engine"]["config_keys"]["session_key"] == plugins.engine.manifest.session_key


def test_secrets_leave_as_placeholders_and_come_back(plugins: Plugins) -> None:
    answers = signed(Answers.from_file(EXAMPLES / "local-libvirt.yaml", plugins))
    session = answers.to_session()
    public, secrets = split_secrets(session, plugins.engine_manifest, plugins.provisioner_manifest)
    assert public["admin_signature"] == {"$secret": "admin_signature"}
    assert "two lines" not in str(public)
    assert resolve_secrets(public, secrets.__getitem__) == session


def test_an_unsigned_wallet_is_no_session(plugins: Plugins) -> None:
    with pytest.raises(AnswerError, match="sign with it first"):
        Answers.from_file(EXAMPLES / "local-libvirt.yaml", plugins).to_session()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_file_to_answers_to_export_and_back(tmp_path: Path, path: Path, plugins: Plugins) -> None:
    answers = signed(Answers.from_file(path, plugins))
    assert again(tmp_path, plugins, answers) == answers.to_session()


@given(
    ports=st.lists(st.integers(1, 65535), min_size=1, max_size=5, unique=True),
    timeout=st.integers(30, 3600),
    size=st.integers(48, 120),
    contact=st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), max_size=30),
    price=st.integers(1, 1000),
    days=st.integers(0, 365),
)
def test_any_answers_survive_the_export(
    tmp_path_factory: pytest.TempPathFactory, plugins: Plugins, ports: list[int], timeout: int, size: int,
    contact: str, price: int, days: int,
) -> None:  # fmt: skip
    tmp_path = tmp_path_factory.mktemp("export")
    document = example(
        admin_commands={"admin_enabled": True, "knock_ports": ports, "knock_timeout": timeout},
        ipv6={"ipv6_mode": "broker", "allocation_size": size},
        engine={"contact": contact, "plan_price_cents": price},
        provisioner={"gc_grace_days": days},
    )
    path = tmp_path / "in.yaml"
    path.write_text(yaml.safe_dump(document, allow_unicode=True))
    answers = signed(Answers.from_file(path, plugins))
    assert again(tmp_path, plugins, answers) == answers.to_session()


def again(tmp_path: Path, plugins: Plugins, answers: Answers) -> dict[str, Any]:
    """The session of what an export of these answers says; the wallet by key, as no real one signed."""
    assert isinstance(answers.wallet, WalletAnswer)
    assert plugins.engine_manifest is not None
    assert plugins.provisioner_manifest is not None
    kept = Answers.from_session(
        answers.to_session(),
        plugins.engine_manifest,
        plugins.provisioner_manifest,
        engine_module=plugins.engine.module if plugins.engine else None,
        provisioner_module=plugins.provisioner.module if plugins.provisioner else None,
    )
    document = to_document(kept, with_secrets=True)
    assert document["wallet"] == answers.wallet.to_form()
    document["wallet"] = {"key": "k", "public_secret": answers.wallet.public_secret}
    path = tmp_path / "out.yaml"
    path.write_text(yaml.safe_dump(document, allow_unicode=True))
    return signed(Answers.from_file(path, plugins)).to_session()


def test_an_export_without_secrets_names_a_file_for_each(plugins: Plugins) -> None:
    answers = signed(Answers.from_file(EXAMPLES / "local-libvirt.yaml", plugins))
    document = to_document(answers, with_secrets=False)
    assert document["wallet"]["admin_signature"] == {"file": "admin_signature"}
    assert "two lines" not in yaml.safe_dump(document)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        read_document(raw)
    except Malformed as error:
        assert str(error)


def test_unreadable_for_us_is_told(tmp_path: Path, plugins: Plugins) -> None:
    path = tmp_path / "answers.yaml"
    path.mkdir()
    problem = str(check_answers(path, plugins).problems[0])
    assert os.strerror(21) in problem or "regular" in problem
