"""Manifests: what is accepted, what is refused, and by which name."""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from blockhost.errors import ManifestError
from blockhost.fields import load_json_document
from blockhost.manifest import EngineManifest, ProvisionerManifest, load_engine

SCHEMAS = Path(__file__).parent.parent / "schemas"

ENGINE: dict[str, Any] = {
    "name": "evm",
    "version": "1.0",
    "display_name": "Ethereum (EVM)",
    "accent_color": "#627eea",
    "setup": {
        "wizard_module": "blockhost.engine_evm.wizard",
        "first_boot_hook": "/usr/share/blockhost/hook",
        "finalization_steps": ["keypair", "wallet"],
        "post_finalization_steps": ["mint_nft"],
    },
    "config_keys": {"session_key": "blockchain", "secrets": ["deployer_key"]},
    "constraints": {"address_pattern": "^0x[0-9a-fA-F]{40}$"},
    "permissions": {"root_actions": ["generate-wallet"]},
}
PROVISIONER: dict[str, Any] = {
    "name": "libvirt",
    "version": "1.0",
    "display_name": "libvirt",
    "commands": {"create": "blockhost-vm-create", "guest-exec": "blockhost-vm-guest-exec"},
    "setup": {
        "first_boot_hook": "/usr/share/blockhost/hook",
        "detect": "blockhost-provisioner-detect",
        "wizard_module": "blockhost.provisioner_libvirt.wizard",
        "finalization_steps": ["storage"],
    },
    "root_agent_actions": "/usr/share/blockhost/root-agent-actions/virsh.py",
    "config_keys": {"session_key": "libvirt", "provisioner_config": ["storage_pool"]},
}
KINDS: list[tuple[str, dict[str, Any], Callable[..., Any]]] = [
    ("engine", ENGINE, EngineManifest.parse),
    ("provisioner", PROVISIONER, ProvisionerManifest.parse),
]
#: Mutants in an ordinary run; BLOCKHOST_MUTANTS=50000 for the full one.
MUTANTS = int(os.environ.get("BLOCKHOST_MUTANTS", "3000"))


def changed(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy with one value replaced; `...` deletes the key."""
    result = copy.deepcopy(document)
    *parents, last = path.split(".")
    place = result
    for key in parents:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return result


def published(kind: str) -> dict[str, Any]:
    """The schema, with `$` meaning the end as in ECMA 262 (Python's also matches before a newline)."""
    text = (SCHEMAS / f"{kind}.schema.json").read_text()
    schema: dict[str, Any] = json.loads(text.replace('$"', '\\\\Z"').replace("$)", "\\\\Z)"))
    return schema


def test_engine_is_parsed_into_plain_attributes() -> None:
    manifest = EngineManifest.parse(ENGINE)
    assert manifest.session_key == "blockchain"
    assert manifest.finalization_steps == ("keypair", "wallet")
    assert manifest.secrets == ("deployer_key",)
    assert manifest.constraints.is_address("0x" + "a" * 40)
    assert not manifest.constraints.is_address("0x" + "a" * 40 + "\n")
    assert manifest.permissions.root_actions == ("generate-wallet",)
    assert manifest.unknown_keys == ()


def test_unknown_keys_are_kept_for_the_checker() -> None:
    document = changed(changed(ENGINE, "colour", 1), "setup.hook", 2)
    assert EngineManifest.parse(document).unknown_keys == ("$.colour", "$.setup.hook")


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("name", ..., "$.name: missing, expected str"),
        ("name", 7, "$.name: expected str, got int"),
        ("name", True, "$.name: expected str, got bool"),
        ("name", "Ev m", "$.name: expected lower-case letters"),
        ("name", "evm\n", "$.name: expected lower-case letters"),
        ("version", " ", "$.version: expected a text"),
        ("accent_color", "red; } body {", "$.accent_color: expected a CSS colour"),
        ("setup", [], "$.setup: expected object, got list"),
        ("setup.wizard_module", "os; import", "$.setup.wizard_module: expected a dotted"),
        ("setup.first_boot_hook", "hook.sh", "$.setup.first_boot_hook: expected an absolute path"),
        ("setup.first_boot_hook", "/usr/../hook", "$.setup.first_boot_hook: expected an absolute path"),
        ("setup.finalization_steps", ["a", 1], "$.setup.finalization_steps[1]: expected str, got int"),
        ("setup.finalization_steps", ["a", "a"], "$.setup.finalization_steps[1]: step 'a' stands here twice"),
        ("config_keys.session_key", "ipv6", "$.config_keys.session_key: 'ipv6' belongs to the installer"),
        ("constraints.address_pattern", "(", "$.constraints.address_pattern: expected a regular"),
    ],
)
def test_refusal_names_the_place(path: str, value: object, complaint: str) -> None:
    with pytest.raises(ManifestError) as caught:
        EngineManifest.parse(changed(ENGINE, path, value), source="engine.json")
    assert str(caught.value).startswith(f"engine.json: {complaint}")


@pytest.mark.parametrize(
    ("path", "value"),
    [("commands", {"create": "rm -rf /"}), ("commands", {"create": 1}), ("setup.detect", "../detect")],
)
def test_provisioner_programs_are_names(path: str, value: object) -> None:
    with pytest.raises(ManifestError, match=path.replace(".", r"\.")):
        ProvisionerManifest.parse(changed(PROVISIONER, path, value))


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (b'{"a": 1, "a": 2}', "duplicate key 'a'"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b"[" * 17 + b"]" * 17, "nested deeper"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": }', "line 1, column 7"),
        (b" " * (256 * 1024 + 1), "expected at most 262144"),
        (b"1" * 5000, "digits"),
    ],
)
def test_hostile_json_is_refused_by_name(tmp_path: Path, raw: bytes, complaint: str) -> None:
    path = tmp_path / "engine.json"
    path.write_bytes(raw)
    with pytest.raises(ManifestError) as caught:
        load_engine(path)
    assert complaint in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_missing_manifest_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        load_engine(tmp_path / "engine.json")
    assert "Install" in caught.value.hint


@pytest.mark.parametrize(("kind", "document", "parse"), KINDS)
def test_schema_accepts_the_example(kind: str, document: dict[str, Any], parse: Callable[..., Any]) -> None:
    schema = json.loads((SCHEMAS / f"{kind}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(("kind", "document", "parse"), KINDS)
def test_schema_and_parser_agree_on_mutants(
    kind: str, document: dict[str, Any], parse: Callable[..., Any]
) -> None:
    """No mutant crashes the parser, and what it refuses the published schema refuses too."""
    schema = published(kind)
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    draw = random.Random(20261120)
    refused = 0
    for _ in range(MUTANTS):
        mutant = mutate(document, draw)
        try:
            parse(load_json_document(json.dumps(mutant), source="mutant.json"), source="mutant.json")
            accepted = True
        except ManifestError as error:
            assert str(error).startswith("mutant.json: $"), error
            accepted = False
            refused += 1
        assert accepted == validator.is_valid(mutant), json.dumps(mutant)
    assert refused > MUTANTS / 4


def mutate(document: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """One to three random changes somewhere in the document."""
    values: list[Any] = [
        None, True, 0, -1, 1.5, 10**30, "", " ", "x", "evm", "/abs", "a b", "é\u202e", "x\n", "a" * 300,
        [], ["a"], ["a", "a"], [1], {}, {"a": "b"}, {"a": 1}, [[["a"]]],
    ]  # fmt: skip
    result = copy.deepcopy(document)
    for _ in range(draw.randint(1, 3)):
        place: Any = result
        while isinstance(place, dict) and place:
            key = draw.choice(list(place))
            if isinstance(place[key], dict) and draw.random() < 0.7:
                place = place[key]
                continue
            match draw.randrange(3):
                case 0:
                    del place[key]
                case 1:
                    place[key] = copy.deepcopy(draw.choice(values))
                case _:
                    place[draw.choice(["name", "setup", "zzz", key.upper()])] = copy.deepcopy(
                        draw.choice(values)
                    )
            break
    return result
