"""Cloud-init templates: whatever a variable holds, it stays one value."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from blockhost.cloud_init import find_template, list_templates, render_cloud_init
from blockhost.errors import BlockhostError, ConfigError

SHIPPED = Path(__file__).parents[1] / "cloud-init/templates"
VARIABLES = {
    "VM_NAME": "blockhost-001",
    "VM_FQDN": "blockhost-001.example.org",
    "USERNAME": "user",
    "WALLET_ADDRESS": "SHA256:abc",
    "NFT_TOKEN_ID": 7,
    "SSH_KEYS": ["ssh-ed25519 AAAA ann@example"],
}


def render(variables: dict[str, object], name: str = "nft-auth.yaml") -> dict[str, object]:
    text = render_cloud_init(name, variables, extra_dirs=[SHIPPED])
    assert text.startswith("#cloud-config\n")
    return yaml.safe_load(text)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["nft-auth.yaml", "webserver.yaml", "devbox.yaml"])
def test_shipped_templates_render(name: str) -> None:
    document = render(dict(VARIABLES), name)
    (user,) = document["users"]  # type: ignore[misc]
    # useradd refuses a colon there, and the owner would have no account at all.
    assert user["gecos"] == "wallet=SHA256-abc,nft=7"
    assert user["ssh_authorized_keys"] == VARIABLES["SSH_KEYS"]
    assert document["locale"] == "C.UTF-8"


@settings(deadline=None)
@given(st.text(max_size=60))
def test_no_value_breaks_out(value: str) -> None:
    document = render({**VARIABLES, "VM_NAME": value})
    reference = render(dict(VARIABLES))
    assert document["hostname"] == value
    assert set(document) == set(reference)


@pytest.mark.parametrize(
    "value",
    [
        "x\nruncmd: [reboot]",
        "x: y",
        "[a",
        "${USERNAME}",
        "#",
        "- x",
        "!!python/object:os.system",
        "'",
        "\t",
        "\x85",
    ],
)
def test_yaml_in_a_value_is_text(value: str) -> None:
    document = render({**VARIABLES, "WALLET_ADDRESS": value})
    assert document["users"][0]["gecos"] == f"wallet={value},nft=7".replace(":", "-")  # type: ignore[index]
    assert "runcmd" not in document


def test_missing_variables_are_named_together() -> None:
    with pytest.raises(BlockhostError, match="no value for SSH_KEYS, USERNAME"):
        render({key: value for key, value in VARIABLES.items() if key not in ("SSH_KEYS", "USERNAME")})


@pytest.mark.parametrize("name", ["nothing", "../nft-auth", "/etc/passwd", "", "a\n", ".."])
def test_unknown_template_is_refused(name: str) -> None:
    with pytest.raises(BlockhostError, match="no cloud-init template") as error:
        find_template(name, [SHIPPED])
    assert "nft-auth.yaml" in str(error.value)


def test_own_templates_come_first(tmp_path: Path) -> None:
    (tmp_path / "nft-auth.yaml").write_text("hostname: ${VM_NAME}\n")
    assert (
        render_cloud_init("nft-auth", {"VM_NAME": "a"}, [tmp_path, SHIPPED]) == "#cloud-config\nhostname: a\n"
    )
    assert list_templates([tmp_path]) == ["nft-auth.yaml"]


def test_template_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    for text in ("- a\n", "[", "\xff"):
        (tmp_path / "x.yaml").write_text(text)
        with pytest.raises(ConfigError):
            render_cloud_init("x", {}, [tmp_path])
