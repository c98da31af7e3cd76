"""Section `network`: how the host gets its address, and the public name it may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from typing import Any, ClassVar

from blockhost.i18n import gettext as _
from installer.answers import values
from installer.answers.form import FormField, FormReader, object_schema

METHODS = ("dhcp", "static")
MOST_RESOLVERS = 8
STATIC_ONLY = ("address", "netmask", "gateway", "dns")

FIELDS = (
    FormField("method", {"enum": list(METHODS)}, required=True),
    FormField(
        "interface",
        {
            "type": "string",
            "pattern": values.INTERFACE,
            "description": "empty: the one that carries the default route",
        },
    ),
    FormField("address", {"type": "string", "description": "IPv4, for static; `/24` may stand behind it"}),
    FormField(
        "netmask",
        {
            "anyOf": [
                {"type": "string", "pattern": values.NETMASK},
                {"type": "integer", "minimum": 1, "maximum": 31},
            ],
            "description": "dotted, or a prefix length",
        },
    ),
    FormField("gateway", {"type": "string", "description": "an address inside the same network"}),
    FormField(
        "dns",
        {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "array",
                    "items": {"type": "string"},
                    "maxItems": MOST_RESOLVERS,
                    "uniqueItems": True,
                },
            ]
        },
    ),
    FormField(
        "hostname",
        {"type": "string", "maxLength": 254, "description": "public DNS name; a certificate is asked for it"},
    ),
    FormField("acme_email", {"type": "string", "maxLength": 254, "description": "for the ACME account"}),
)

_RULES = (
    {
        "if": {"properties": {"method": {"const": "static"}}},
        "then": {"required": ["address", "gateway"]},
        "else": {"not": {"anyOf": [{"required": [name]} for name in STATIC_ONLY]}},
    },
)


@dataclass(frozen=True, slots=True)
class NetworkAnswer:
    """DHCP, or one static IPv4 address; addresses are in canonical form, `netmask` is dotted."""

    method: str
    interface: str = ""
    address: str = ""
    netmask: str = ""
    gateway: str = ""
    dns: tuple[str, ...] = ()
    hostname: str = ""
    acme_email: str = ""

    FIELDS: ClassVar[tuple[FormField, ...]] = FIELDS
    SCHEMA: ClassVar[dict[str, Any]] = object_schema("network", FIELDS, _RULES)

    @classmethod
    def from_form(cls, form: Mapping[str, object]) -> NetworkAnswer:
        """Read the form.

        Raises:
            FormRefused: an AnswerError that knows all faults.
        """
        read = FormReader(form, FIELDS)
        method = read.required("method", values.one_of(METHODS))
        interface = read.optional(
            "interface",
            values.matching(values.INTERFACE, _("the name of a network interface such as enp1s0")),
            "",
        )
        if interface == "lo":
            read.refuse("interface", _("expected an interface to the outside, got the loopback"))
        static = _read_static(read) if method == "static" else {}
        if method == "dhcp":
            read.forbid(STATIC_ONLY, _("with method dhcp the network's own server sets it"))
        hostname = read.optional("hostname", values.hostname, "")
        acme_email = read.optional("acme_email", values.email, "")
        read.finish()
        return cls(method, interface, hostname=hostname, acme_email=acme_email, **static)

    def to_form(self) -> dict[str, str]:
        """The form that gives this answer again; empty fields are left out."""
        form = {
            "method": self.method,
            "interface": self.interface,
            "address": self.address,
            "netmask": self.netmask,
            "gateway": self.gateway,
            "dns": ",".join(self.dns),
            "hostname": self.hostname,
            "acme_email": self.acme_email,
        }
        return {name: text for name, text in form.items() if text}

    def to_session(self) -> dict[str, Any]:
        """The session's keys for this section."""
        return {
            "network": {
                "method": self.method,
                "interface": self.interface,
                "address": self.address,
                "netmask": self.netmask,
                "gateway": self.gateway,
                "dns": list(self.dns),
                "hostname": self.hostname,
                "acme_email": self.acme_email,
            }
        }

    @classmethod
    def from_session(cls, session: Mapping[str, Any]) -> NetworkAnswer:
        """The inverse of `to_session`."""
        return cls.from_form(session.get("network", {}))


def _read_static(read: FormReader) -> dict[str, Any]:
    given = read.required("address", _address_and_prefix)
    mask = read.optional("netmask", values.netmask, None)
    gateway = read.required("gateway", values.ipv4_host)
    dns = read.optional("dns", values.listing(values.resolver, most=MOST_RESOLVERS), ())
    if not read.fine("address", "netmask"):
        return {}
    address, prefix = given
    mask = mask or prefix
    if mask is None:
        read.refuse("netmask", _("nothing was given, expected a netmask such as 255.255.255.0"))
        return {}
    if prefix is not None and mask != prefix:
        read.refuse("netmask", _("expected the same as in the address (/%d)") % prefix)
        return {}
    own = IPv4Interface(f"{address}/{mask}")
    _check_within(read, own, gateway)
    return {
        "address": str(address),
        "netmask": str(own.netmask),
        "gateway": str(gateway),
        "dns": dns,
    }


def _check_within(read: FormReader, own: IPv4Interface, gateway: IPv4Address) -> None:
    """A host cannot be its network's first or last address, and must reach its gateway directly."""
    network = own.network
    ends = () if network.prefixlen == 31 else (network.network_address, network.broadcast_address)
    if own.ip in ends:
        read.refuse(
            "address",
            _("%(address)s is the network or broadcast address of %(network)s, expected one between")
            % {"address": own.ip, "network": network},
        )
    if not read.fine("gateway"):
        return
    found = {"gateway": gateway, "network": network}
    if gateway not in network:
        read.refuse("gateway", _("expected an address inside %(network)s, got %(gateway)s") % found)
    elif gateway in ends:
        read.refuse(
            "gateway",
            _(
                "expected a machine's address, got %(gateway)s, the network or broadcast "
                "address of %(network)s"
            )
            % found,
        )
    elif gateway == own.ip:
        read.refuse("gateway", _("expected another address than the host's own, got %(gateway)s") % found)


def _address_and_prefix(text: str) -> tuple[IPv4Address, int | None]:
    address, slash, prefix = text.partition("/")
    return values.ipv4_host(address), values.netmask(prefix) if slash else None
