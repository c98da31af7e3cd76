"""This provisioner's keys of `db.yaml`, typed."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from blockhost.config import load_db_config
from blockhost.errors import ConfigError
from blockhost.fields import Fields
from blockhost.provisioner_libvirt.domain import ACCELERATORS, BRIDGE, POOL


@dataclass(frozen=True, slots=True)
class Settings:
    """Where machines live on this host."""

    pool: str
    storage_path: str
    bridge: str
    network: ipaddress.IPv4Network
    gateway: ipaddress.IPv4Address
    template: str
    #: `kvm` where finalization found that the processor really helps, else `qemu`.
    accelerator: str


def load_settings() -> Settings:
    """The settings that finalization wrote.

    Raises:
        ConfigError: something is missing or malformed; names the key.
    """
    source = "db.yaml"
    root = Fields(load_db_config(), source=source)
    addresses = root.child("ip_pool")
    settings = Settings(
        pool=root.take("storage_pool", str),
        storage_path=root.take("storage_path", str),
        bridge=root.take("bridge", str),
        network=_network(addresses, "network"),
        gateway=_address(addresses, "gateway"),
        template=root.take("template_volume", str),
        accelerator=root.choice("accelerator", ACCELERATORS, "qemu"),
    )
    for key, value, pattern in (
        ("storage_pool", settings.pool, POOL),
        ("bridge", settings.bridge, BRIDGE),
        ("template_volume", settings.template, POOL),
    ):
        if not pattern.fullmatch(value):
            raise ConfigError(source, f"$.{key}", f"{value!r} is not acceptable")
    return settings


def _network(fields: Fields, key: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(fields.take(key, str))
    except ValueError as error:
        raise ConfigError(fields.source, f"{fields.path}.{key}", str(error)) from None


def _address(fields: Fields, key: str) -> ipaddress.IPv4Address:
    try:
        return ipaddress.IPv4Address(fields.take(key, str))
    except ValueError as error:
        raise ConfigError(fields.source, f"{fields.path}.{key}", str(error)) from None
