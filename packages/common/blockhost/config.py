"""Reading the host's configuration: the functions that plugins and services call.

Search order for a file: /etc/blockhost, then `fallback_dir`, then ./config in development
(`BLOCKHOST_DEV` set).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from blockhost import paths
from blockhost.config_files import BLOCKHOST, BROKER_ALLOCATION, DB, WEB3_DEFAULTS, parse_config
from blockhost.errors import ConfigError
from blockhost.i18n import gettext as _

CONFIG_DIR = paths.config_dir()
DATA_DIR = paths.state_dir()


def is_development_mode() -> bool:
    """True when ./config may stand in for /etc/blockhost."""
    return bool(os.environ.get("BLOCKHOST_DEV"))


def get_config_path(name: str, fallback_dir: str | os.PathLike[str] | None = None) -> Path:
    """The first existing place of a configuration file; where it belongs if there is none."""
    places = [paths.config_dir() / name]
    if fallback_dir is not None:
        places.append(Path(fallback_dir) / name)
    if is_development_mode():
        places.append(Path("config") / name)
    return next((place for place in places if place.exists()), places[0])


def load_config(name: str, fallback_dir: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """The object in a configuration file.

    Raises:
        ConfigError: it is missing, malformed, or not an object.
    """
    path = get_config_path(name, fallback_dir)
    try:
        document = parse_config(path)
    except FileNotFoundError:
        raise ConfigError(str(path), "", _("missing"), hint=_("Has the setup been completed?")) from None
    if not isinstance(document, dict):
        raise ConfigError(str(path), "$", _("expected object"))
    return document


def load_db_config(fallback_dir: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """`db.yaml`: pools, bridge, expiry, and what the provisioner keeps there."""
    return load_config(DB.name, fallback_dir)


def load_web3_config(fallback_dir: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """`web3-defaults.yaml`: chain, contracts, login settings of VMs."""
    return load_config(WEB3_DEFAULTS.name, fallback_dir)


def load_blockhost_config(fallback_dir: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """`blockhost.yaml`: server, admin, and fund settings."""
    return load_config(BLOCKHOST.name, fallback_dir)


def load_broker_allocation(fallback_dir: str | os.PathLike[str] | None = None) -> dict[str, Any] | None:
    """`broker-allocation.json`, or None on a host without a broker."""
    if not get_config_path(BROKER_ALLOCATION.name, fallback_dir).exists():
        return None
    return load_config(BROKER_ALLOCATION.name, fallback_dir)


def get_db_file_path(fallback_dir: str | os.PathLike[str] | None = None) -> Path:
    """Where the VM database lies."""
    configured = load_db_config(fallback_dir).get("db_file")
    return paths.at(configured) if configured else paths.state_dir() / "vms.db"
