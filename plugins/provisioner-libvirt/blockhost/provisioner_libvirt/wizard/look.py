"""The setup action `libvirt-look`: what this host has that the page can offer. Runs as root, in a child.

Addresses in use are found by asking: one datagram to each address of the bridge's network makes the
kernel ask who has it, and its neighbour table tells who answered.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from blockhost import paths
from blockhost.command import probe
from blockhost.errors import BlockhostError
from blockhost.pipeline.context import StepContext
from blockhost.provisioner_libvirt.domain import BRIDGE
from blockhost.provisioner_libvirt.virsh import pool, pools

ACTION = "libvirt-look"
#: Larger networks are not asked: the table of neighbours has an end (net.ipv4.neigh.default.gc_thresh3).
MOST_ASKED = 510
ANSWERS_S = 1.5
DISCARD_PORT = 9


def look(context: StepContext, params: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001  contract
    """`bridges`, `pools`, `network`, `gateway`, `in_use`; what cannot be found out is missing."""
    found: dict[str, Any] = {"bridges": _bridges(), "pools": _pools()}
    routes = _ip("route", "show", "default")
    with contextlib.suppress(LookupError, ValueError, TypeError):
        device, gateway = str(routes[0]["dev"]), ipaddress.IPv4Address(routes[0]["gateway"])
        links = _ip("address", "show", "dev", device)
        if network := _network(links, gateway):
            found |= {"network": str(network), "gateway": str(gateway), "own": _own(links)}
            found["in_use"] = _in_use(device, network)
    return found


def _pools() -> list[dict[str, Any]]:
    """Directories that libvirt keeps disks in, with the room that is left."""
    found = []
    with contextlib.suppress(BlockhostError):
        for name in pools():
            facts = pool(name)
            if facts is not None and facts["kind"] == "dir":
                found.append({"name": name, "path": facts["path"], "free_gb": _free_gb(Path(facts["path"]))})
    return found


def _free_gb(path: Path) -> int | None:
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        facts = os.statvfs(path)
    except OSError:
        return None
    return facts.f_bavail * facts.f_frsize // 10**9


def _bridges() -> list[dict[str, Any]]:
    return [
        {
            "name": link["ifname"],
            "addresses": [
                f"{entry['local']}/{entry['prefixlen']}"
                for entry in link.get("addr_info", [])
                if entry.get("local")
            ],
        }
        for link in _ip("address", "show")
        if BRIDGE.fullmatch(str(link.get("ifname", "")))
    ]


def _in_use(device: str, network: ipaddress.IPv4Network) -> list[str]:
    """Addresses of others in the network that answer, or answered lately."""
    if paths.root() == Path("/") and network.num_addresses <= MOST_ASKED + 2:
        _ask_all(network)
    answered = [
        entry
        for entry in _ip("neigh", "show", "dev", device)
        if entry.get("lladdr") and not {"FAILED", "INCOMPLETE"} & set(entry.get("state", []))
    ]
    addresses = sorted(ipaddress.IPv4Address(entry["dst"]) for entry in answered)
    return [str(address) for address in addresses if address in network]


def _ask_all(network: ipaddress.IPv4Network) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        for address in network.hosts():
            with contextlib.suppress(OSError):
                sender.sendto(b"", (str(address), DISCARD_PORT))
        time.sleep(ANSWERS_S)  # the kernel asks three times, a second apart; who is there answers at once


def _own(links: list[Any]) -> list[str]:
    return [entry["local"] for link in links for entry in link.get("addr_info", []) if entry.get("local")]


def _network(links: list[Any], gateway: ipaddress.IPv4Address) -> ipaddress.IPv4Network | None:
    for link in links:
        for entry in link.get("addr_info", []):
            if entry.get("family") == "inet":
                found = ipaddress.IPv4Interface(f"{entry['local']}/{entry['prefixlen']}").network
                if gateway in found:
                    return found
    return None


def _ip(*arguments: str) -> list[Any]:
    try:
        done = probe(["ip", "-j", "-4", *arguments], timeout=5)
        found = json.loads(done.stdout or "[]") if done.code == 0 else []
    except (BlockhostError, ValueError):
        return []
    return found if isinstance(found, list) else []
