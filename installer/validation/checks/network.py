"""Checks of the network: a way out, a resolver, and forwarding where VMs need it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from blockhost import command
from blockhost.checks import Check, CheckContext, Finding, Severity
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.paths import at
from installer.finalize.steps.ipv6 import FORWARDING


def checks() -> Iterator[Check]:
    yield Check(
        "NET-ADDR-01",
        _("an interface has an address"),
        _address,
        fix=N_("Look at `ip address`; the console's network form sets one"),
    )
    yield Check(
        "NET-ROUTE-02",
        _("there is a default route"),
        _route,
        Severity.WARNING,
        fix=N_("Without a gateway only this network reaches the host"),
    )
    yield Check(
        "NET-DNS-03",
        _("a resolver is configured"),
        _resolver,
        Severity.WARNING,
        fix=N_("Name a DNS server on the network page"),
    )
    yield Check(
        "NET-FWD-04",
        _("IPv6 is forwarded where VMs have it"),
        _forwarding,
        fix=N_("sysctl --load /etc/sysctl.d/60-blockhost-ipv6.conf"),
    )


def _address(context: CheckContext) -> Finding:
    links = json.loads(command.run(["ip", "-j", "address", "show"]) or "[]")
    found = [
        f"{link['ifname']} {address['local']}"
        for link in links
        for address in link.get("addr_info", ())
        if address.get("scope") == "global"
    ]
    return Finding(ok=bool(found), evidence=", ".join(found[:4]) or _("none"))


def _route(context: CheckContext) -> Finding:
    routes = json.loads(command.run(["ip", "-j", "route", "show", "default"]) or "[]")
    return Finding(ok=bool(routes), evidence=", ".join(str(route.get("gateway", "?")) for route in routes))


def _resolver(context: CheckContext) -> Finding:
    try:
        lines = at("/etc/resolv.conf").read_text().splitlines()
    except FileNotFoundError:
        lines = []
    servers = [line.split()[1] for line in lines if line.startswith("nameserver ") and len(line.split()) > 1]
    return Finding(ok=bool(servers), evidence=", ".join(servers) or _("none"))


def _forwarding(context: CheckContext) -> Finding:
    mode = (context.config.get("ipv6") or {}).get("mode", "none")
    if mode == "none":
        return Finding(ok=True, evidence=_("VMs have no IPv6"))
    value = command.probe(["sysctl", "--values", FORWARDING]).stdout.strip()
    return Finding(ok=value == "1", evidence=f"{FORWARDING} = {value or '?'}")
