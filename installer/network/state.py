"""What an interface carries: read with `ip -j`, and turned back into arguments for `ip`.

The same conversion serves both directions, moving to a bridge and putting back, so what one
forgets the other forgets too, and the test that compares before and after sees it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from blockhost import command
from blockhost.errors import CommandFailed, StepFailed
from blockhost.i18n import gettext as _

FOREVER = 4294967295
#: How long the kernel may need to prove an IPv6 address unique (RFC 4862: 1 s, plus jitter).
DAD_DEADLINE_S = 6.0
POLL_S = 0.05

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class InterfaceState:
    """One interface at one moment: JSON all through, so that it can lie on disk."""

    name: str
    mac: str
    up: bool
    master: str | None = None
    mtu: int = 1500
    addresses: list[Entry] = field(default_factory=list)
    routes4: list[Entry] = field(default_factory=list)
    routes6: list[Entry] = field(default_factory=list)

    def gateways(self) -> list[str]:
        """Gateways of the default routes, IPv4 first, without repeats."""
        found = [
            route["gateway"]
            for route in (*self.routes4, *self.routes6)
            if route.get("dst") == "default" and "gateway" in route
        ]
        return list(dict.fromkeys(found))

    def global_ipv4(self) -> list[str]:
        """Its IPv4 addresses with prefix length that others can reach."""
        return [
            f"{address['local']}/{address['prefixlen']}"
            for address in self.addresses
            if address["family"] == "inet" and address.get("scope") == "global"
        ]

    @property
    def has_lease(self) -> bool:
        """True when an IPv4 address came by DHCP (it has a lifetime)."""
        return any(address["family"] == "inet" and address.get("dynamic") for address in self.addresses)


def query(*arguments: str) -> list[Entry]:
    """`ip -j …` as a list; an interface that does not exist is an empty list."""
    done = command.probe(["ip", "-j", *arguments], timeout=15)
    if done.code != 0:
        if "does not exist" in done.stderr or "Cannot find device" in done.stderr:
            return []
        raise CommandFailed("ip", done.code, done.stderr)
    answer = json.loads(done.stdout or "[]")
    return [entry for entry in answer if entry]


def ip(*arguments: str) -> None:
    """One change with `ip`.

    Raises:
        CommandFailed: the kernel refused it.
    """
    command.run(["ip", *arguments], timeout=15)


def exists(name: str) -> bool:
    return bool(query("link", "show", "dev", name))


def read_interface(name: str) -> InterfaceState | None:
    """All that `name` carries now; None when there is no such interface."""
    links = query("-d", "link", "show", "dev", name)
    if not links:
        return None
    link = links[0]
    addresses = query("addr", "show", "dev", name)[0].get("addr_info", [])
    return InterfaceState(
        name=name,
        mac=link.get("address", ""),
        up="UP" in link.get("flags", []),
        master=link.get("master"),
        mtu=link.get("mtu", 1500),
        addresses=[address for address in addresses if address.get("local")],
        routes4=_own_routes("-4", name),
        routes6=_own_routes("-6", name),
    )


def default_routes() -> list[Entry]:
    """Default routes with a device, both families, best metric first; IPv4 before IPv6."""
    found: list[Entry] = []
    for family in ("-4", "-6"):
        routes = [route for route in query(family, "route", "show", "default") if route.get("dev")]
        found += sorted(routes, key=lambda route: int(route.get("metric", 0)))
    return found


def address_arguments(address: Mapping[str, Any], device: str) -> list[str]:
    """Arguments of `ip addr replace` that make this address on `device`."""
    arguments = [f"{address['local']}/{address['prefixlen']}"]
    if peer := address.get("address"):
        arguments = [str(address["local"]), "peer", f"{peer}/{address['prefixlen']}"]
    arguments += ["dev", device]
    if broadcast := address.get("broadcast"):
        arguments += ["broadcast", broadcast]
    if address["family"] == "inet" and (scope := address.get("scope")):
        arguments += ["scope", scope]
    label = address.get("label", "")
    if ":" in label:
        # A label must begin with its device's name (ip-address(8)).
        arguments += ["label", f"{device}:{label.partition(':')[2]}"]
    if "metric" in address:
        arguments += ["metric", str(address["metric"])]
    for key, option in (("valid_life_time", "valid_lft"), ("preferred_life_time", "preferred_lft")):
        if address.get(key, FOREVER) != FOREVER:
            arguments += [option, str(address[key])]
    flags = ("noprefixroute", "mngtmpaddr", "home", "nodad")
    return arguments + [flag for flag in flags if address.get(flag)]


def route_arguments(route: Mapping[str, Any], device: str) -> list[str]:
    """Arguments of `ip route replace` that make this route through `device`."""
    arguments = [str(route["type"])] if route.get("type", "unicast") != "unicast" else []
    arguments.append(str(route["dst"]))
    if via := route.get("via"):  # an IPv4 route through an IPv6 neighbour
        arguments += ["via", "inet6" if ":" in via["host"] else "inet", via["host"]]
    elif gateway := route.get("gateway"):
        arguments += ["via", gateway]
    arguments += ["dev", device]
    for key, option in (
        ("table", "table"),
        ("protocol", "proto"),
        ("scope", "scope"),
        ("prefsrc", "src"),
        ("metric", "metric"),
        ("tos", "tos"),
        ("expires", "expires"),
        ("pref", "pref"),
    ):
        if key in route:
            arguments += [option, str(route[key])]
    if "onlink" in route.get("flags", []):
        arguments.append("onlink")
    for metric, value in _metrics(route):
        arguments += [metric, str(value)]
    return arguments


def copy_setting(name: str, source: str, target: str) -> None:
    """Give `target` the IPv6 setting of `source` (sysctl net.ipv6.conf; none without IPv6)."""
    found = command.probe(["sysctl", "-n", f"net/ipv6/conf/{source}/{name}"], timeout=15)
    if found.code == 0:
        command.run(
            ["sysctl", "-q", "-w", f"net/ipv6/conf/{target}/{name}={found.stdout.strip()}"], timeout=15
        )


def add_address(address: Mapping[str, Any], device: str) -> None:
    ip("-6" if address["family"] == "inet6" else "-4", "addr", "replace", *address_arguments(address, device))


def add_routes(state: InterfaceState, device: str) -> None:
    """Make all of the state's routes through `device`: those that need no gateway come first."""
    for family, routes in (("-4", state.routes4), ("-6", state.routes6)):
        direct = [route for route in routes if not _has_gateway(route)]
        indirect = [route for route in routes if _has_gateway(route)]
        for route in direct + indirect:
            # `append`, not `replace`: several routes may differ only in what `replace` ignores.
            if not _is_there(family, route, device):
                _append_route(family, route, device)


def _append_route(family: str, route: Mapping[str, Any], device: str) -> None:
    try:
        ip(family, "route", "append", *route_arguments(route, device))
    except CommandFailed as error:
        # A router may have advertised itself to the bridge meanwhile: the same way, learnt anew, with
        # another lifetime or protocol than networkd had noted for the card.
        if "File exists" not in error.stderr or not _leads_there(family, route, device):
            raise


def delete_routes(state: InterfaceState, device: str, *, keep: InterfaceState | None = None) -> None:
    """Remove the state's routes through `device`, but those that `keep` has too; gone is fine."""
    for family, routes, kept in (
        ("-4", state.routes4, keep.routes4 if keep else []),
        ("-6", state.routes6, keep.routes6 if keep else []),
    ):
        identities = {_identity(route) for route in kept}
        for route in routes:
            if _identity(route) not in identities:
                without_expiry = {key: value for key, value in route.items() if key != "expires"}
                command.probe(
                    ["ip", family, "route", "del", *route_arguments(without_expiry, device)], timeout=15
                )


def wait_until_usable(device: str) -> None:
    """Wait for duplicate address detection: a route may not name a source that is still tentative."""
    deadline = time.monotonic() + DAD_DEADLINE_S
    while query("-6", "addr", "show", "dev", device, "tentative"):
        if time.monotonic() > deadline:
            raise StepFailed(
                _("an IPv6 address on %(device)s stays tentative") % {"device": device},
                hint=_("Is the cable plugged in?"),
            )
        time.sleep(POLL_S)


def has_address(address: Mapping[str, Any], device: str) -> bool:
    return any(_same_address(address, other) for other in _addresses(device))


def is_moved(address: Mapping[str, Any]) -> bool:
    """Whether an address moves to the bridge: all do, except the IPv6 link-local one, which each
    interface makes for itself from its MAC."""
    return not (address["family"] == "inet6" and address.get("scope") == "link")


def _addresses(device: str) -> Iterator[Entry]:
    for link in query("addr", "show", "dev", device):
        yield from (address for address in link.get("addr_info", []) if address.get("local"))


def _same_address(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return (one["local"], one["prefixlen"]) == (other["local"], other["prefixlen"])


def _own_routes(family: str, device: str) -> list[Entry]:
    """Routes through `device` that somebody made; the kernel makes the others with the addresses."""
    routes = query(family, "route", "show", "table", "all", "dev", device)
    return [route for route in routes if route.get("table") != "local" and route.get("protocol") != "kernel"]


def _is_there(family: str, route: Mapping[str, Any], device: str) -> bool:
    wanted = _identity(route)
    return any(_identity(other) == wanted for other in _own_routes(family, device))


def _leads_there(family: str, route: Mapping[str, Any], device: str) -> bool:
    """Whether some route through `device` goes the same way, whoever made it."""
    wanted = [route.get(key) for key in ("dst", "gateway", "table")]
    others = query(family, "route", "show", "table", "all", "dev", device)
    return any([other.get(key) for key in ("dst", "gateway", "table")] == wanted for other in others)


def _identity(route: Mapping[str, Any]) -> str:
    """A route without what counts down by itself."""
    return json.dumps(
        {key: value for key, value in route.items() if key not in {"expires", "dev"}}, sort_keys=True
    )


def _has_gateway(route: Mapping[str, Any]) -> bool:
    return "gateway" in route or "via" in route


def _metrics(route: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for group in route.get("metrics", []):
        yield from group.items()
