"""What the wizard's network page has the worker do: the setup actions of the host itself.

`network-switch` tries an answer, `network-confirm` keeps it (called over the new address),
`network-revert` takes it back, `network-dhcp` asks for a lease on one interface.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from blockhost import nginx_site
from blockhost.i18n import gettext as _
from blockhost.pipeline import StepContext
from installer.network import address
from installer.network.address import Method, NetworkPlan
from installer.tls import local_ca
from installer.tls.names import own_names

Action = Callable[[StepContext, dict[str, Any]], dict[str, Any]]


def switch(context: StepContext, params: dict[str, Any]) -> dict[str, Any]:
    """Try the page's answer: `{pending, address, seconds_left}`.

    Raises:
        AnswerError, StepFailed: it is not acceptable, or does not work; nothing was changed.
    """
    tried = address.apply_answer(address.parse_fields(params))
    if tried is None:
        return {"pending": False}
    context.log(f"trying {tried.address} on {tried.interface}")
    follow_addresses()
    return {"pending": True, "address": tried.address, "seconds_left": tried.seconds_left}


def confirm(_context: StepContext, _params: dict[str, Any]) -> dict[str, Any]:
    """Keep what is being tried: `{kept}`; false when it was taken back already."""
    kept = address.confirm()
    follow_addresses()
    return {"kept": kept}


def revert(_context: StepContext, _params: dict[str, Any]) -> dict[str, Any]:
    """Take back what is being tried: `{reverted}`."""
    reverted = address.revert()
    follow_addresses()
    return {"reverted": reverted}


def dhcp(_context: StepContext, params: dict[str, Any]) -> dict[str, Any]:
    """Ask for a lease: `{message, ip}`. A lease that came proves itself, so nobody need confirm it."""
    plan = NetworkPlan.parse(method=Method.DHCP, interface=str(params.get("interface", "")))
    tried = address.apply_answer(plan)
    if tried is None:
        return {"message": _("there is a lease already"), "ip": address.leased_address(plan)}
    address.confirm()
    follow_addresses()
    return {"message": _("leased {address}").format(address=tried.address), "ip": tried.address}


def follow_addresses() -> None:
    """Certificate and site for the addresses of now: each must answer under TLS with its own name."""
    site = nginx_site.current_site()
    if site is None:
        return
    given = [name for name in site.host_names if not _is_address(name)]
    names = tuple(dict.fromkeys([*own_names(), *given]))
    if site.cert_file.parent == local_ca.tls_dir():
        local_ca.ensure_certificate(names)
    nginx_site.activate(replace(site, host_names=names))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


ACTIONS: dict[str, Action] = {
    "network-switch": switch,
    "network-confirm": confirm,
    "network-revert": revert,
    "network-dhcp": dhcp,
}
