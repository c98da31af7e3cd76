"""What the operator says about this provisioner: one typed record for page, answers file and HTTP."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from blockhost.errors import AnswerError
from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt.domain import POOL

DEFAULTS = {
    "storage_pool": "blockhost",
    "storage_path": "/var/lib/libvirt/images/blockhost",
    "gc_grace_days": "7",
}
FIELDS = ("storage_pool", "storage_path", "ip_network", "ip_start", "ip_end", "gateway", "gc_grace_days")
_PATH = re.compile(r"(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,63}){1,12}")
#: Directories that a storage pool may lie in; libvirt's daemon writes there as root.
_ROOMS = ("/var/lib", "/srv", "/mnt", "/media", "/home", "/data", "/opt", "/pool", "/tank")
MOST_GRACE_DAYS = 3650


@dataclass(frozen=True, slots=True)
class LibvirtAnswer:
    """Where disks lie, and which addresses the machines get."""

    storage_pool: str
    storage_path: str
    ip_network: str
    ip_start: str
    ip_end: str
    gateway: str
    gc_grace_days: int

    @classmethod
    def from_form(cls, form: Mapping[str, str]) -> LibvirtAnswer:
        """Read the form.

        Raises:
            AnswerError: names the field and what is wrong with it.
        """
        values = {name: str(form.get(name, "") or DEFAULTS.get(name, "")).strip() for name in FIELDS}
        network = _network(values["ip_network"])
        start, end = (
            _host("ip_start", values["ip_start"], network),
            _host("ip_end", values["ip_end"], network),
        )
        if start > end:
            message = _("the first address, {start}, comes after the last, {end}")
            raise AnswerError("ip_end", message.format(start=start, end=end))
        gateway = _host("gateway", values["gateway"], network)
        if start <= gateway <= end:
            message = _("{gateway} is inside the range {start} to {end}; it belongs to the gateway alone")
            raise AnswerError("gateway", message.format(gateway=gateway, start=start, end=end))
        return cls(
            storage_pool=_pool(values["storage_pool"]),
            storage_path=_path(values["storage_path"]),
            ip_network=str(network),
            ip_start=str(start),
            ip_end=str(end),
            gateway=str(gateway),
            gc_grace_days=_days(values["gc_grace_days"]),
        )

    def to_session(self) -> dict[str, Any]:
        """What the installer keeps under this plugin's session key."""
        return asdict(self)


def to_form(answers: Mapping[str, Any]) -> dict[str, str]:
    """The form that gives these answers."""
    return {name: str(answers[name]) for name in FIELDS if name in answers}


SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["ip_network", "ip_start", "ip_end", "gateway"],
    "properties": {
        "storage_pool": {
            "type": "string",
            "default": DEFAULTS["storage_pool"],
            "description": "name of the libvirt storage pool for the disks",
        },
        "storage_path": {
            "type": "string",
            "default": DEFAULTS["storage_path"],
            "description": "directory of that pool",
        },
        "ip_network": {"type": "string", "description": "network of the machines, like 192.168.1.0/24"},
        "ip_start": {"type": "string", "description": "first address that machines may get"},
        "ip_end": {"type": "string", "description": "last address that machines may get"},
        "gateway": {"type": "string", "description": "router of that network"},
        "gc_grace_days": {
            "type": ["integer", "string"],
            "default": int(DEFAULTS["gc_grace_days"]),
            "description": "days between the suspension of an expired machine and its end",
        },
    },
}


def _network(text: str) -> ipaddress.IPv4Network:
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError:
        message = _("{text!r} is not a network; expected one like 192.168.1.0/24")
        raise AnswerError("ip_network", message.format(text=text)) from None
    if not 8 <= network.prefixlen <= 29:
        message = _("{network} is {size}; expected a prefix from /8 to /29")
        size = _("too small for machines") if network.prefixlen > 29 else _("too large")
        raise AnswerError("ip_network", message.format(network=network, size=size))
    return network


def _host(field: str, text: str, network: ipaddress.IPv4Network) -> ipaddress.IPv4Address:
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        message = _("{text!r} is not an IPv4 address")
        raise AnswerError(field, message.format(text=text)) from None
    if address not in network:
        message = _("{address} is not in the network {network}")
        raise AnswerError(field, message.format(address=address, network=network))
    if address == network.network_address:
        message = _("{address} is the address of the network {network} itself")
        raise AnswerError(field, message.format(address=address, network=network))
    if address == network.broadcast_address:
        message = _("{address} is the broadcast address of {network}")
        raise AnswerError(field, message.format(address=address, network=network))
    return address


def _pool(text: str) -> str:
    if not POOL.fullmatch(text):
        message = _("{text!r} is not a pool name; expected letters, digits, dots, dashes and underscores")
        raise AnswerError("storage_pool", message.format(text=text))
    return text


def _path(text: str) -> str:
    text = text.rstrip("/")
    if not _PATH.fullmatch(text) or not text.startswith(tuple(f"{room}/" for room in _ROOMS)):
        message = _("{text!r} is not a directory for disks; expected an absolute path below one of {rooms}")
        raise AnswerError("storage_path", message.format(text=text, rooms=", ".join(_ROOMS)))
    return text


def _days(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) > MOST_GRACE_DAYS:
        message = _("{text!r} is not a number of days; expected 0 to {most}")
        raise AnswerError("gc_grace_days", message.format(text=text, most=MOST_GRACE_DAYS))
    return int(text)
