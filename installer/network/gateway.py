"""Does the gateway answer? Asked in ways that a firewall on it does not silence.

First as a neighbour: whoever forwards frames must answer ARP or neighbour discovery (RFC 826,
RFC 4861), also when ICMP echo is dropped. Then by ping, for the odd link where the neighbour is
entered by hand and so proves nothing.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import time

from blockhost import command
from blockhost.errors import CommandFailed
from installer.network.state import query

DEADLINE_S = 8.0
POLL_S = 0.05
#: RFC 863; nobody listens, and nobody need: sending makes the kernel look for the neighbour.
DISCARD_PORT = 9


def answers(gateway: str, device: str, *, deadline_s: float | None = None) -> bool:
    """True as soon as `gateway` answers through `device`; False after `deadline_s` seconds."""
    deadline = time.monotonic() + (DEADLINE_S if deadline_s is None else deadline_s)
    while True:
        _forget_neighbour(gateway, device)
        round_ends = min(deadline, time.monotonic() + 2.5)
        _nudge(gateway, device)
        while time.monotonic() < round_ends:
            state = neighbour_state(gateway, device)
            if state == "REACHABLE":
                return True
            if state in {"FAILED", "PERMANENT", "NOARP"}:
                break
            time.sleep(POLL_S)
        if _pings(gateway, device):
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)


def neighbour_state(gateway: str, device: str) -> str:
    """The kernel's word on the neighbour (ip-neighbour(8)); empty when it knows none."""
    entries = query("neigh", "show", "to", gateway, "dev", device)
    states = entries[0].get("state", []) if entries else []
    return str(states[0]) if states else ""


def _forget_neighbour(gateway: str, device: str) -> None:
    """An entry from before the change would prove nothing; one made by hand is not ours to remove."""
    if neighbour_state(gateway, device) not in {"", "PERMANENT", "NOARP"}:
        command.probe(["ip", "neigh", "del", gateway, "dev", device], timeout=10)


def _nudge(gateway: str, device: str) -> None:
    """Send one datagram, so that the kernel has to resolve the neighbour."""
    is_v6 = ipaddress.ip_address(gateway).version == 6
    family = socket.AF_INET6 if is_v6 else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        sender.setblocking(False)
        target = (
            (gateway, DISCARD_PORT, 0, socket.if_nametoindex(device)) if is_v6 else (gateway, DISCARD_PORT)
        )
        sender.sendto(b"", target)


def _pings(gateway: str, device: str) -> bool:
    if command.find("ping") is None:
        return False
    try:
        return command.probe(["ping", "-n", "-c", "1", "-W", "1", "-I", device, gateway], timeout=5).code == 0
    except CommandFailed:
        return False
