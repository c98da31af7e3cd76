"""A first guess for the form, out of what `look` found: a free part of the host's own network."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from blockhost.errors import AnswerError
from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt.answers import LibvirtAnswer

#: How many addresses are proposed, at most, and how few are worth a proposal.
MOST, FEWEST = 50, 2
#: Of a larger network only the upper end is looked at.
LOOKED_AT = 1024


def propose(found: Mapping[str, Any]) -> dict[str, str]:
    """Fields that can be guessed; empty when nothing can."""
    fields: dict[str, str] = {}
    pools = [pool for pool in found.get("pools", []) if pool.get("name") != "default"]
    if pools:
        fields |= {"storage_pool": str(pools[0]["name"]), "storage_path": str(pools[0]["path"])}
    try:
        network = ipaddress.IPv4Network(found["network"])
        gateway = ipaddress.IPv4Address(found["gateway"])
    except (LookupError, ValueError):
        return fields
    fields |= {"ip_network": str(network), "gateway": str(gateway)}
    if free := _free_run(network, {int(gateway), *taken(found)}):
        fields |= {"ip_start": str(free[0]), "ip_end": str(free[1])}
    return fields


def taken(found: Mapping[str, Any]) -> set[int]:
    """Addresses that somebody answers at, and the host's own, as numbers."""
    texts = [*found.get("in_use", []), *found.get("own", [])]
    return {int(ipaddress.IPv4Address(text)) for text in texts}


def require_free(answer: LibvirtAnswer, found: Mapping[str, Any]) -> None:
    """Refuse a range in which somebody else answers.

    Raises:
        AnswerError: names who.
    """
    first, last = (int(ipaddress.IPv4Address(text)) for text in (answer.ip_start, answer.ip_end))
    others = [text for text in found.get("in_use", []) if first <= int(ipaddress.IPv4Address(text)) <= last]
    if others:
        message = _("somebody else answers at {others}; choose a range without")
        raise AnswerError("ip_start", message.format(others=_shortened(others)))


def _shortened(texts: list[str]) -> str:
    return ", ".join(texts[:5]) + (" …" if len(texts) > 5 else "")


def _free_run(
    network: ipaddress.IPv4Network, used: set[int]
) -> tuple[ipaddress.IPv4Address, ipaddress.IPv4Address] | None:
    """The highest free run of MOST addresses, else the longest; the last host address stays free, as many
    routers sit there."""
    lowest, highest = int(network.network_address) + 1, int(network.broadcast_address) - 2
    best: tuple[int, int] | None = None
    number = highest
    while number >= max(lowest, highest - LOOKED_AT):
        last = number
        while number >= lowest and number not in used and last - number + 1 <= MOST:
            number -= 1
        length = last - number
        if length and (best is None or length > best[1] - best[0] + 1):
            best = (number + 1, last)
        if length >= MOST:
            break
        number -= 1
    if best is None or best[1] - best[0] + 1 < FEWEST:
        return None
    return ipaddress.IPv4Address(best[0]), ipaddress.IPv4Address(best[1])
