"""How far this machine reaches, without asking anybody on the internet."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from installer.host.interfaces import Interface, interfaces, own_addresses
from installer.network import gateway


class Reach(StrEnum):
    """From nothing to a gateway that answers; more is not asked before setup."""

    NONE = "none"
    LINK_LOCAL = "link-local"
    LOCAL = "local"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Connectivity:
    """The address to show, the gateway, and how far we reach. `ip` is None without any address."""

    ip: str | None
    gateway: str | None
    connectivity: Reach

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def connectivity(*, ask_gateway: bool = True, deadline_s: float = 3.0) -> Connectivity:
    """The state now. Without `ask_gateway` a gateway that is known counts as one that answers, and
    nothing is sent: that is also open to a process without rights."""
    found = interfaces()
    addresses = own_addresses()
    ip = addresses[0] if addresses else None
    for interface in found:
        if interface.gateway and (not ask_gateway or _answers(interface, deadline_s)):
            return Connectivity(ip, interface.gateway, Reach.GATEWAY)
    known = next((interface.gateway for interface in found if interface.gateway), None)
    if any(interface.has_global_address for interface in found):
        return Connectivity(ip, known, Reach.LOCAL)
    return Connectivity(ip, known, Reach.LINK_LOCAL if ip else Reach.NONE)


def _answers(interface: Interface, deadline_s: float) -> bool:
    return gateway.answers(str(interface.gateway), interface.name, deadline_s=deadline_s)
