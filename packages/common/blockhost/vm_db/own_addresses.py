"""The addresses of this host itself, which no machine may get: read from the kernel, without programs."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from blockhost import paths

_LOCAL = re.compile(r"\|-- (?P<address>[0-9.]+)\s+/32 host LOCAL")


def own_addresses(net: Path | None = None) -> frozenset[str]:
    """Every IPv4 and IPv6 address of this host's interfaces, and its default gateways."""
    net = net or paths.at("/proc/net")
    return frozenset(_ipv4(_text(net / "fib_trie")) | _gateways(_text(net / "route")) | _ipv6(net))


def _ipv4(trie: str) -> set[str]:
    return {match["address"] for match in _LOCAL.finditer(trie)}


def _gateways(table: str) -> set[str]:
    """Column 3 of each default route: the address in the machine's own byte order (little-endian)."""
    found = set()
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) > 2 and words[1] == "00000000" and words[2] != "00000000":
            found.add(str(ipaddress.IPv4Address(bytes.fromhex(words[2])[::-1])))
    return found


def _ipv6(net: Path) -> set[str]:
    lines = [line.split() for line in _text(net / "if_inet6").splitlines()]
    return {str(ipaddress.IPv6Address(int(words[0], 16))) for words in lines if words}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""  # a kernel without that protocol
