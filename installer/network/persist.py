"""How the network comes up at the next boot: files of systemd-networkd, each written whole.

The order makes every moment bootable: the bridge's device, then its addresses, and only last the
file that puts the NIC into it. Cut before the last, the NIC still gets its own address by DHCP
from the image's default file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blockhost import command, paths
from blockhost.errors import CommandFailed
from blockhost.files import make_dir, remove, write_atomic
from installer.network.state import InterfaceState

MODE = 0o644
HEADER = "# Written by blockhost; the wizard's network page changes it.\n"
#: networkd's own default for routes that came by DHCP (systemd.network(5)).
DHCP_METRIC = 1024


@dataclass(frozen=True, slots=True)
class NetworkdFile:
    """One file below /etc/systemd/network and what goes in."""

    path: Path
    content: str

    def write(self) -> None:
        write_atomic(self.path, self.content, mode=MODE)


def networkd_dir() -> Path:
    return paths.at("/etc/systemd/network")


def device_file(bridge: str) -> Path:
    return networkd_dir() / f"50-blockhost-{bridge}.netdev"


def address_file(name: str) -> Path:
    """What gives `name` its addresses."""
    return networkd_dir() / f"50-blockhost-{name}.network"


def uplink_file() -> Path:
    """What puts the NIC into the bridge; written last, so it stands for all three."""
    return networkd_dir() / "50-blockhost-uplink.network"


def bridge_files(bridge: str) -> list[Path]:
    return [device_file(bridge), address_file(bridge), uplink_file()]


def render_bridge(bridge: str, nic: InterfaceState) -> list[NetworkdFile]:
    """The bridge as `nic` is now, in the order of writing."""
    device = f"{HEADER}[NetDev]\nName={bridge}\nKind=bridge\nMACAddress={nic.mac}\n"
    if nic.mtu != 1500:
        device += f"MTUBytes={nic.mtu}\n"
    # Spanning tree off: a bridge with one uplink cannot loop, and listening would cost 30 s a boot.
    device += "\n[Bridge]\nSTP=no\n"
    uplink = (
        f"{HEADER}[Match]\nName={nic.name}\n\n"
        f"[Network]\nBridge={bridge}\nLinkLocalAddressing=no\nIPv6AcceptRA=no\nLLDP=no\n"
    )
    return [
        NetworkdFile(device_file(bridge), device),
        NetworkdFile(address_file(bridge), render_addresses(bridge, nic)),
        NetworkdFile(uplink_file(), uplink),
    ]


def render_addresses(name: str, carried: InterfaceState) -> str:
    """The [Network] part that gives `name` what `carried` has: leases stay leases."""
    fixed = [address for address in carried.addresses if _is_fixed(address)]
    leased = carried.has_lease or not any(address["family"] == "inet" for address in fixed)
    parts = [HEADER + f"[Match]\nName={name}\n", _network_part(leased, nameservers() if not leased else ())]
    if leased:
        parts.append(dhcp_part(_lease_metric(carried)))
    parts += [_address_part(address) for address in fixed]
    parts += [_route_part(route) for route in (*carried.routes4, *carried.routes6) if _is_fixed_route(route)]
    return "\n".join(parts)


def render_dhcp(name: str) -> str:
    """`name` asks for its address."""
    return "\n".join([HEADER + f"[Match]\nName={name}\n", _network_part(True, ()), dhcp_part(None)])


def render_static(name: str, addresses: Sequence[str], gateway: str | None, dns: Iterable[str]) -> str:
    """`name` has these addresses (with prefix length); IPv6 of the router still counts."""
    parts = [HEADER + f"[Match]\nName={name}\n", _network_part(False, tuple(dns))]
    parts += [f"[Address]\nAddress={address}\n" for address in addresses]
    if gateway:
        parts.append(f"[Route]\nGateway={gateway}\n")
    return "\n".join(parts)


def dhcp_part(metric: int | None) -> str:
    # The client is its MAC (RFC 2132 section 9.14), so that NIC and bridge get the same lease; and a
    # lease is not given back when networkd hands it from one to the other.
    part = "[DHCPv4]\nClientIdentifier=mac\nSendRelease=no\n"
    return part + (f"RouteMetric={metric}\n" if metric is not None else "")


def write_files(files: Iterable[NetworkdFile]) -> None:
    """Write them in their order; each is whole or absent at any moment."""
    make_dir(networkd_dir(), mode=0o755)
    for file in files:
        file.write()


def remove_files(files: Iterable[Path]) -> None:
    for path in files:
        remove(path)


def has_networkd() -> bool:
    """True when networkd is what configures this machine."""
    if command.find("networkctl") is None or command.find("systemctl") is None:
        return False
    try:
        done = command.probe(["systemctl", "is-active", "--quiet", "systemd-networkd.service"], timeout=15)
    except CommandFailed:
        return False
    return done.code == 0


def reload() -> bool:
    """Have networkd read its files; False where it does not run."""
    if not has_networkd():
        return False
    command.run(["networkctl", "reload"], timeout=30)
    return True


def is_settled(name: str) -> bool:
    """Whether networkd is done with this link; where it cannot be asked, there is nothing to wait for."""
    done = command.probe(["networkctl", "list", "--no-legend", "--no-pager", name], timeout=15)
    words = done.stdout.split()
    return done.code != 0 or not words or words[-1] in {"configured", "unmanaged"}


def nameservers() -> tuple[str, ...]:
    """The name servers in use now, without the local stub."""
    found: list[str] = []
    for name in ("/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"):
        try:
            lines = paths.at(name).read_text().splitlines()
        except OSError:
            continue
        words = [line.split() for line in lines]
        found += [word[1] for word in words if len(word) > 1 and word[0] == "nameserver"]
    return tuple(dict.fromkeys(server for server in found if not server.startswith("127.")))


def _network_part(leased: bool, dns: Sequence[str]) -> str:
    lines = ["[Network]", f"DHCP={'yes' if leased else 'no'}", "LinkLocalAddressing=yes", "IPv6AcceptRA=yes"]
    # avahi answers for the .local name; two responders would fight over it.
    lines += ["MulticastDNS=no"] + [f"DNS={server}" for server in dns]
    return "\n".join(lines) + "\n"


def _address_part(address: Mapping[str, Any]) -> str:
    lines = ["[Address]", f"Address={address['local']}/{address['prefixlen']}"]
    if "metric" in address:
        lines.append(f"RouteMetric={address['metric']}")
    return "\n".join(lines) + "\n"


def _route_part(route: Mapping[str, Any]) -> str:
    lines = ["[Route]"]
    if gateway := route.get("gateway"):
        lines.append(f"Gateway={gateway}")
    if route["dst"] != "default":
        lines.append(f"Destination={route['dst']}")
    for key, option in (("metric", "Metric"), ("table", "Table"), ("prefsrc", "PreferredSource")):
        if key in route:
            lines.append(f"{option}={route[key]}")
    if "onlink" in route.get("flags", []):
        lines.append("GatewayOnLink=yes")
    if "gateway" not in route and route.get("scope"):
        lines.append(f"Scope={route['scope']}")
    return "\n".join(lines) + "\n"


def _is_fixed(address: Mapping[str, Any]) -> bool:
    """An address that nobody leases or announces."""
    return not address.get("dynamic") and address.get("scope") == "global"


def _is_fixed_route(route: Mapping[str, Any]) -> bool:
    return route.get("protocol") not in {"dhcp", "ra", "kernel"} and "type" not in route


def _lease_metric(carried: InterfaceState) -> int | None:
    metrics = [
        int(route["metric"]) for route in carried.routes4 if route["dst"] == "default" and "metric" in route
    ]
    return metrics[0] if metrics and metrics[0] != DHCP_METRIC else None
