"""The names and addresses that others may use for this host."""

from __future__ import annotations

import ipaddress
import socket

from blockhost import paths
from installer.host.interfaces import own_addresses

FALLBACK_NAME = "blockhost"


def own_names() -> list[str]:
    """Addresses, best first, then the host name and its `.local` form (RFC 6762)."""
    name = host_name()
    addresses = [address for address in own_addresses() if not _is_ipv6_link_local(address)]
    names = [*addresses, name, local_name(), "localhost", "127.0.0.1", "::1"]
    return list(dict.fromkeys(names))


def host_name() -> str:
    """The machine's own name, as /etc/hostname gives it."""
    try:
        name = paths.at("/etc/hostname").read_text().strip()
    except OSError:
        name = socket.gethostname()
    return name.lower() or FALLBACK_NAME


def local_name() -> str:
    """What multicast DNS answers to."""
    return f"{host_name().partition('.')[0]}.local"


def _is_ipv6_link_local(address: str) -> bool:
    """Browsers cannot address these (they need a zone), so no certificate is asked for one."""
    parsed = ipaddress.ip_address(address)
    return parsed.version == 6 and parsed.is_link_local
