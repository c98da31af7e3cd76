"""User data for virtual machines, from templates that cannot be broken out of.

A template is YAML with `${NAME}` in its values. It is parsed first and filled afterwards, value by
value, so whatever a variable holds stays one value: no quoting, no injected key. A value that is
nothing but `${NAME}` becomes the variable itself, which may be a list (`SSH_KEYS`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from blockhost import paths
from blockhost.errors import BlockhostError, ConfigError
from blockhost.i18n import gettext as _

HEADER = "#cloud-config\n"
VARIABLES = (
    "VM_NAME",
    "VM_FQDN",
    "VM_IP",
    "VM_IPV6",
    "SIGNING_HOST",
    "SIGNING_DOMAIN",
    "USERNAME",
    "WALLET_ADDRESS",
    "NFT_TOKEN_ID",
    "OTP_LENGTH",
    "OTP_TTL",
    "SECRET_KEY",
    "SSH_KEYS",
)
_REFERENCE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

ExtraDirs = Sequence[str | Path] | None


def template_dirs(extra_dirs: ExtraDirs = None) -> list[Path]:
    """Where templates are looked for, first match first: the given places, the operator's, ours."""
    return [
        *(Path(directory) for directory in extra_dirs or ()),
        paths.config_dir() / "cloud-init/templates",
        paths.share_dir() / "cloud-init/templates",
    ]


def list_templates(extra_dirs: ExtraDirs = None) -> list[str]:
    """The names of all templates."""
    return sorted({file.name for directory in template_dirs(extra_dirs) for file in directory.glob("*.yaml")})


def find_template(name: str, extra_dirs: ExtraDirs = None) -> Path:
    """The file of a template (`nft-auth.yaml` or `nft-auth`).

    Raises:
        BlockhostError: there is none; names those that exist.
    """
    if _NAME.fullmatch(name) and ".." not in name:
        file_name = name if name.endswith(".yaml") else f"{name}.yaml"
        for directory in template_dirs(extra_dirs):
            if (file := directory / file_name).is_file():
                return file
    known = ", ".join(list_templates(extra_dirs)) or _("none is installed")
    raise BlockhostError(
        _("no cloud-init template %(name)r (there are: %(known)s)") % {"name": name, "known": known}
    )


def render_cloud_init(template_name: str, variables: Mapping[str, Any], extra_dirs: ExtraDirs = None) -> str:
    """The filled template, starting with `#cloud-config`.

    Raises:
        BlockhostError: no such template, or it uses variables that were not given.
        ConfigError: the template is not a YAML mapping.
    """
    file = find_template(template_name, extra_dirs)
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(str(file), "", _("cannot be parsed: %(error)s") % {"error": error}) from error
    if not isinstance(document, dict):
        raise ConfigError(str(file), "$", _("expected a mapping"))
    missing: set[str] = set()
    filled = _fill(document, variables, missing)
    if missing:
        raise BlockhostError(
            _("%(name)s: no value for %(names)s") % {"name": file.name, "names": ", ".join(sorted(missing))}
        )
    _mend_gecos(filled)
    # ASCII only: PyYAML writes U+0085 as it is when told to, and reads a space back.
    return HEADER + yaml.safe_dump(filled, sort_keys=False, width=4096)


def gecos(wallet: str, nft_id: object) -> str:
    """What an owner's account says about itself.

    A colon would end the field in /etc/passwd, and useradd refuses it: fingerprints (`SHA256:…`) are
    written with a dash instead, which occurs in no address.
    """
    return f"wallet={wallet},nft={nft_id}".replace(":", "-")


def _mend_gecos(document: Any) -> None:
    users = document.get("users")
    for user in users if isinstance(users, list) else []:
        if isinstance(user, dict) and isinstance(user.get("gecos"), str):
            user["gecos"] = user["gecos"].replace(":", "-")


def _fill(node: Any, variables: Mapping[str, Any], missing: set[str]) -> Any:
    if isinstance(node, dict):
        return {key: _fill(value, variables, missing) for key, value in node.items()}
    if isinstance(node, list):
        return [_fill(value, variables, missing) for value in node]
    if not isinstance(node, str):
        return node
    names = set(_REFERENCE.findall(node))
    if unknown := names - set(variables):
        missing.update(unknown)
        return node
    if whole := _REFERENCE.fullmatch(node):
        value = variables[whole[1]]
        return list(value) if isinstance(value, list | tuple) else value
    return _REFERENCE.sub(lambda match: str(variables[match[1]]), node)
