"""A first guess for the form: the network of the default route, and the upper end of it."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

from blockhost.command import probe
from blockhost.errors import BlockhostError

#: How many addresses are proposed, at most.
MOST = 50


def propose() -> dict[str, str]:
    """Fields that can be guessed; empty when nothing can."""
    try:
        routes = _ip("route", "show", "default")
        if not routes:
            return {}
        device, gateway = str(routes[0]["dev"]), ipaddress.IPv4Address(routes[0]["gateway"])
        network = _network(_ip("address", "show", "dev", device), gateway)
    except (BlockhostError, LookupError, ValueError, TypeError):
        return {}  # a guess is a courtesy: without one the form is empty
    return {} if network is None else _fields(network, gateway)


def _fields(network: ipaddress.IPv4Network, gateway: ipaddress.IPv4Address) -> dict[str, str]:
    fields = {"ip_network": str(network), "gateway": str(gateway)}
    last = network.broadcast_address - 2
    first = max(last - MOST + 1, network.network_address + network.num_addresses // 2)
    if network.prefixlen <= 27 and not first <= gateway <= last:
        fields |= {"ip_start": str(first), "ip_end": str(last)}
    return fields


def _network(links: list[Any], gateway: ipaddress.IPv4Address) -> ipaddress.IPv4Network | None:
    for link in links:
        for entry in link.get("addr_info", []):
            if entry.get("family") == "inet":
                found = ipaddress.IPv4Interface(f"{entry['local']}/{entry['prefixlen']}").network
                if gateway in found:
                    return found
    return None


def _ip(*arguments: str) -> list[Any]:
    done = probe(["ip", "-j", "-4", *arguments], timeout=3)
    found = json.loads(done.stdout or "[]") if done.code == 0 else []
    return found if isinstance(found, list) else []
