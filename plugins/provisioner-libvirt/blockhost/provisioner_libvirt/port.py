"""A machine's port on the bridge: what it may send from, and how much.

The facts stand in the domain's own metadata, so that whoever starts a machine (our command, libvirt
at boot) finds them there; `port_filter` makes rules of them.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from xml.etree import ElementTree

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _

NAMESPACE = "urn:blockhost:vm"
KEY = "blockhost"
MAC = re.compile(r"52:54(?::[0-9a-f]{2}){4}")
#: Names of our tap devices begin so; libvirt's own begin with vnet.
TAPS = "bhv"
MOST_KBPS = 100_000_000

ElementTree.register_namespace(KEY, NAMESPACE)


@dataclass(frozen=True, slots=True)
class Port:
    """Making one checks it. `ipv6` is "" on a host without; 0 kbps is no limit."""

    mac: str
    ipv4: str
    ipv6: str = ""
    #: Kilobits per second towards the machine, and from it.
    kbps_in: int = 0
    kbps_out: int = 0

    def __post_init__(self) -> None:
        if not MAC.fullmatch(self.mac):
            raise BlockhostError(_("port: %(mac)r is not a MAC address of ours") % {"mac": self.mac})
        try:
            texts = (
                str(ipaddress.IPv4Address(self.ipv4)),
                self.ipv6 and str(ipaddress.IPv6Address(self.ipv6)),
            )
        except ValueError as error:
            raise BlockhostError(f"port: {error}") from None
        if texts != (self.ipv4, self.ipv6):
            raise BlockhostError(_("port: expected addresses in their usual form"))
        for rate in (self.kbps_in, self.kbps_out):
            if not 0 <= rate <= MOST_KBPS:
                raise BlockhostError(
                    _("port: expected 0 to %(most_kbps)s kbps, got %(rate)s")
                    % {"most_kbps": MOST_KBPS, "rate": rate}
                )

    @property
    def tap(self) -> str:
        """The name of its device on the host."""
        return TAPS + self.mac[6:].replace(":", "")

    @property
    def link_local(self) -> str:
        """The IPv6 address that the guest makes of its MAC (RFC 4291, appendix A)."""
        octets = bytes.fromhex(self.mac.replace(":", ""))
        identifier = bytes([octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]])
        return str(ipaddress.IPv6Address(bytes.fromhex("fe80000000000000") + identifier))

    def element(self) -> ElementTree.Element:
        """The facts as they stand in the domain's metadata."""
        values = {"mac": self.mac, "ipv4": self.ipv4, "ipv6": self.ipv6}
        rates = {"kbps-in": self.kbps_in, "kbps-out": self.kbps_out}
        known = {key: text for key, text in values.items() if text}
        known |= {key: str(rate) for key, rate in rates.items() if rate}
        return ElementTree.Element(f"{{{NAMESPACE}}}port", known)

    @classmethod
    def parse(cls, element: ElementTree.Element) -> Port:
        """Read it back.

        Raises:
            BlockhostError: it is not what `element` makes.
        """
        try:
            rates = [int(element.get(key, "0")) for key in ("kbps-in", "kbps-out")]
        except ValueError as error:
            raise BlockhostError(f"port: {error}") from None
        return cls(element.get("mac", ""), element.get("ipv4", ""), element.get("ipv6", ""), *rates)


def port_of(domain: ElementTree.Element) -> Port | None:
    """The port of a domain, by its XML; None where the domain is not one of ours."""
    found = domain.find(f"metadata/{{{NAMESPACE}}}port")
    return None if found is None else Port.parse(found)
