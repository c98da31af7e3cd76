"""This provisioner's keys of `db.yaml`, typed."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from blockhost.config import load_db_config
from blockhost.errors import BlockhostError, ConfigError
from blockhost.fields import Fields
from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt.domain import ACCELERATORS, BRIDGE, POOL
from blockhost.provisioner_libvirt.port import Port
from blockhost.vm_db import Pools


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
    pools: Pools

    def require_own(self, port: Port) -> None:
        """What a machine sends from must come out of this host's pools: never the gateway's address.

        Raises:
            BlockhostError: it does not.
        """
        for text, pool in ((port.ipv4, self.pools.ipv4), (port.ipv6, self.pools.ipv6)):
            number = int(ipaddress.ip_address(text)) if text else None
            if number is not None and (
                pool is None or not pool.first <= number <= pool.last or number in pool.reserved
            ):
                raise BlockhostError(
                    _("%(text)s is not an address for machines of this host") % {"text": text}
                )


def load_settings() -> Settings:
    """The settings that finalization wrote.

    Raises:
        ConfigError: something is missing or malformed; names the key.
    """
    source = "db.yaml"
    document = load_db_config()
    root = Fields(document, source=source)
    addresses = root.child("ip_pool")
    settings = Settings(
        pool=root.take("storage_pool", str),
        storage_path=root.take("storage_path", str),
        bridge=root.take("bridge", str),
        network=_network(addresses, "network"),
        gateway=_address(addresses, "gateway"),
        template=root.take("template_volume", str),
        accelerator=root.choice("accelerator", ACCELERATORS, "qemu"),
        pools=Pools.parse(document, source=source),
    )
    for key, value, pattern in (
        ("storage_pool", settings.pool, POOL),
        ("bridge", settings.bridge, BRIDGE),
        ("template_volume", settings.template, POOL),
    ):
        if not pattern.fullmatch(value):
            raise ConfigError(source, f"$.{key}", _("%(value)r is not acceptable") % {"value": value})
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
