"""Routes of virtual machines' IPv6 addresses."""

from __future__ import annotations

from blockhost.command import probe, run
from blockhost.errors import CommandFailed
from blockhost.root_agent.action import action
from blockhost.root_agent.values import BridgePort, HostAddress


@action(resource="routes")
def ip6_route_add(address: HostAddress, dev: BridgePort) -> None:
    """Route one VM's address to its bridge; adding it twice is not an error."""
    run(["ip", "-6", "route", "replace", address, "dev", dev])


@action(resource="routes")
def ip6_route_del(address: HostAddress, dev: BridgePort) -> None:
    """Remove the route of one VM's address; a missing one is not an error."""
    done = probe(["ip", "-6", "route", "del", address, "dev", dev])
    # ip(8) exits 2 for every kernel error; only ESRCH and ENODEV mean that nothing is left to remove.
    if done.code != 0 and not any(
        reason in done.stderr for reason in ("No such process", "Cannot find device")
    ):
        raise CommandFailed("ip", done.code, done.stderr)


ACTIONS = {"ip6-route-add": ip6_route_add, "ip6-route-del": ip6_route_del}
