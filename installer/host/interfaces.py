"""The network interfaces, behind one seam: `interfaces()`.

netifaces answers on an appliance. Where it is missing (its upstream is archived), or where the
machine is a stand-in (a dry run), `ip` answers; callers see no difference.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from blockhost import command, paths

netifaces: Any
try:
    import netifaces
except ImportError:
    netifaces = None


class Kind(StrEnum):
    WIRED = "wired"
    WIRELESS = "wireless"
    BRIDGE = "bridge"
    VIRTUAL = "virtual"


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface. `addresses` carry their prefix length; `carrier` is None when it is down."""

    name: str
    mac: str
    kind: Kind
    carrier: bool | None
    addresses: tuple[str, ...] = ()
    gateway: str | None = None
    master: str | None = None

    @property
    def has_global_address(self) -> bool:
        return any(not ipaddress.ip_interface(address).is_link_local for address in self.addresses)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "addresses": list(self.addresses)}


def interfaces() -> list[Interface]:
    """All interfaces but the loopback; the one with the default route first, then by name."""
    is_this_machine = paths.root() == Path("/")
    found = _from_netifaces() if netifaces is not None and is_this_machine else _from_ip()
    return sorted(found, key=lambda interface: (interface.gateway is None, interface.name))


def own_addresses() -> list[str]:
    """Addresses others can reach us by, best first: with a gateway before without, IPv4 before IPv6,
    link-local last."""
    found = [
        (ipaddress.ip_interface(address), interface.gateway is None)
        for interface in interfaces()
        for address in interface.addresses
    ]
    found.sort(key=lambda pair: (_link_local_rank(pair[0]), pair[1], pair[0].version))
    return list(dict.fromkeys(str(address.ip) for address, _ in found))


def _link_local_rank(address: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> int:
    """A browser takes an IPv4 link-local address as it is; an IPv6 one needs a zone."""
    return address.version if address.is_link_local else 0


def _from_netifaces() -> list[Interface]:
    gateways = _netifaces_gateways()
    return [
        Interface(
            name=name,
            mac=_netifaces_mac(name),
            kind=_kind(name, None),
            carrier=_carrier(name),
            addresses=_netifaces_addresses(name),
            gateway=gateways.get(name),
            master=_master(name),
        )
        for name in netifaces.interfaces()
        if name != "lo"
    ]


def _netifaces_gateways() -> dict[str, str]:
    found: dict[str, str] = {}
    for family in (netifaces.AF_INET, netifaces.AF_INET6):
        for gateway, name, *_rest in netifaces.gateways().get(family, []):
            found.setdefault(name, gateway)
    return found


def _netifaces_mac(name: str) -> str:
    entries = netifaces.ifaddresses(name).get(netifaces.AF_LINK, [])
    return str(entries[0].get("addr", "")) if entries else ""


def _netifaces_addresses(name: str) -> tuple[str, ...]:
    entries = netifaces.ifaddresses(name)
    found = []
    for family in (netifaces.AF_INET, netifaces.AF_INET6):
        for entry in entries.get(family, []):
            bare = entry["addr"].partition("%")[0]
            # IPv6 masks arrive as ffff:ffff::/32 or ffff:ffff::, by version of netifaces.
            mask = str(entry.get("netmask", "")).rpartition("/")
            found.append(f"{bare}/{_prefix_length(bare, mask[0] or mask[2], mask[2])}")
    return tuple(found)


def _prefix_length(address: str, mask: str, length: str) -> int:
    if length.isdigit():
        return int(length)
    if not mask:
        return ipaddress.ip_address(address).max_prefixlen
    return int(ipaddress.ip_address(mask)).bit_count()


def _from_ip() -> list[Interface]:
    gateways: dict[str, str] = {}
    for family in ("-4", "-6"):
        for route in _query(family, "route", "show", "default"):
            if "gateway" in route and "dev" in route:
                gateways.setdefault(route["dev"], route["gateway"])
    return [
        Interface(
            name=link["ifname"],
            mac=link.get("address", ""),
            kind=_kind(link["ifname"], link.get("linkinfo", {}).get("info_kind")),
            carrier=_carrier_of(link),
            addresses=tuple(
                f"{address['local']}/{address['prefixlen']}"
                for address in link.get("addr_info", [])
                if address.get("local")
            ),
            gateway=gateways.get(link["ifname"]),
            master=link.get("master"),
        )
        for link in _query("-d", "addr", "show")
        if link.get("link_type") != "loopback"
    ]


def _query(*arguments: str) -> list[dict[str, Any]]:
    answer = json.loads(command.run(["ip", "-j", *arguments], timeout=15) or "[]")
    return [entry for entry in answer if entry]


def _carrier_of(link: Mapping[str, Any]) -> bool | None:
    flags = link.get("flags", [])
    return "LOWER_UP" in flags if "UP" in flags else None


def _sysfs(name: str) -> Path:
    return paths.at("/sys/class/net") / name


def _carrier(name: str) -> bool | None:
    try:
        return (_sysfs(name) / "carrier").read_text().strip() == "1"
    except OSError:  # EINVAL: the interface is down (sysfs-class-net)
        return None


def _master(name: str) -> str | None:
    link = _sysfs(name) / "master"
    return link.resolve().name if link.exists() else None


def _kind(name: str, kernel_kind: str | None) -> Kind:
    sysfs = _sysfs(name)
    if (sysfs / "phy80211").exists():
        return Kind.WIRELESS
    if kernel_kind == "bridge" or (sysfs / "bridge").is_dir():
        return Kind.BRIDGE
    if kernel_kind is not None or (sysfs.exists() and not (sysfs / "device").exists()):
        return Kind.VIRTUAL
    return Kind.WIRED
