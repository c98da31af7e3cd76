"""Who owns which configuration file: the one table, and the one way to read and write them.

Rows that a plugin owns (an engine's `web3-defaults.yaml`, a provisioner's `db.yaml`) stand here
when more than one part reads them; a plugin adds rows of its own by making a `ConfigFile`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blockhost import paths
from blockhost.errors import ConfigError
from blockhost.files import write_atomic
from blockhost.i18n import gettext as _


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """One file below /etc/blockhost: its name, mode, owner, and who writes it."""

    name: str
    mode: int
    writer: str
    owner: str = "root"
    group: str = "blockhost"

    @property
    def path(self) -> Path:
        return paths.config_dir() / self.name


SERVER_KEY = ConfigFile("server.key", 0o640, "engine")
SERVER_PUBKEY = ConfigFile("server.pubkey", 0o644, "engine")
DEPLOYER_KEY = ConfigFile("deployer.key", 0o640, "engine")
DB = ConfigFile("db.yaml", 0o640, "provisioner; ipv6 adds ipv6_pool")
WEB3_DEFAULTS = ConfigFile("web3-defaults.yaml", 0o640, "engine")
BLOCKHOST = ConfigFile("blockhost.yaml", 0o640, "engine")
HTTPS = ConfigFile("https.json", 0o644, "step https")
ADMIN_SIGNATURE = ConfigFile("admin-signature.key", 0o640, "step finalize")
ADMIN_COMMANDS = ConfigFile("admin-commands.json", 0o640, "step finalize")
ADMIN = ConfigFile("admin.json", 0o644, "admin panel, through the root agent")
BROKER_ALLOCATION = ConfigFile("broker-allocation.json", 0o640, "broker client")
ADDRESSBOOK = ConfigFile("addressbook.json", 0o640, "engine, root agent")
REVENUE_SHARE = ConfigFile("revenue-share.json", 0o644, "engine")
HOT_KEY = ConfigFile("hot.key", 0o640, "root agent")

TABLE: tuple[ConfigFile, ...] = (
    SERVER_KEY,
    SERVER_PUBKEY,
    DEPLOYER_KEY,
    DB,
    WEB3_DEFAULTS,
    BLOCKHOST,
    HTTPS,
    ADMIN_SIGNATURE,
    ADMIN_COMMANDS,
    ADMIN,
    BROKER_ALLOCATION,
    ADDRESSBOOK,
    REVENUE_SHARE,
    HOT_KEY,
)


def write_config(row: ConfigFile, value: Any) -> None:
    """Replace the file durably; the format follows its suffix (.json, .yaml, else text)."""
    write_atomic(row.path, _dump(row, value), mode=row.mode, owner=row.owner, group=row.group)


def read_config(row: ConfigFile) -> Any:
    """What the file holds.

    Raises:
        FileNotFoundError: it was never written.
        ConfigError: it cannot be read, or is not what its suffix says.
    """
    return parse_config(row.path)


def update_config(row: ConfigFile, changes: Mapping[str, Any]) -> None:
    """Set some top-level keys and keep the rest; nothing is written when nothing changes."""
    try:
        before = read_config(row) or {}
    except FileNotFoundError:
        before = {}
    if not isinstance(before, dict):
        raise ConfigError(str(row.path), "$", _("expected object"))
    after = {**before, **changes}
    if after != before or not row.path.exists():
        write_config(row, after)


def parse_config(path: Path) -> Any:
    """Parse a configuration file by its suffix.

    Raises:
        FileNotFoundError, ConfigError: as `read_config`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise
    except PermissionError as error:
        hint = _("Run it as root or as the user blockhost.")
        raise ConfigError(str(path), "", _("permission denied"), hint=hint) from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), "", _("it is not UTF-8 text")) from error
    except OSError as error:
        raise ConfigError(str(path), "", str(error.strerror)) from error
    try:
        if path.suffix == ".json":
            return json.loads(text)
        if path.suffix in {".yaml", ".yml"}:
            return _parse_yaml(text)
    except ValueError as error:
        raise ConfigError(str(path), "", _("cannot be parsed: %(error)s") % {"error": error}) from error
    return text


def _parse_yaml(text: str) -> Any:
    import yaml  # noqa: PLC0415  (the wizard and short commands start without it)

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _dump(row: ConfigFile, value: Any) -> str:
    if row.name.endswith(".json"):
        return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if row.name.endswith((".yaml", ".yml")):
        import yaml  # noqa: PLC0415

        return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    text = str(value)
    return text if text.endswith("\n") else text + "\n"
