"""Which addresses and ids the database may hand out (`db.yaml`)."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from blockhost.errors import BlockhostError, ConfigError
from blockhost.fields import Fields
from blockhost.i18n import gettext as _


class PoolExhausted(BlockhostError):
    """A pool has no address or id left."""


@dataclass(frozen=True, slots=True)
class Range:
    """Addresses of one family from `first` to `last` (as numbers), without those in `reserved`."""

    family: int
    first: int
    last: int
    reserved: frozenset[int] = frozenset()

    def __iter__(self) -> Iterator[str]:
        for number in range(self.first, self.last + 1):
            if number not in self.reserved:
                yield self.text(number)

    def __str__(self) -> str:
        return f"{self.text(self.first)} to {self.text(self.last)}"

    @property
    def identity(self) -> str:
        """Another one for every other pool; what is reserved outside the range does not count."""
        inside = sorted(number for number in self.reserved if self.first <= number <= self.last)
        return hashlib.sha256(repr((self.first, self.last, inside)).encode()).hexdigest()[:32]

    def without(self, addresses: Iterable[str]) -> Range:
        """The same range with more of it reserved; addresses of the other family are ignored."""
        parsed = [ipaddress.ip_address(address) for address in addresses]
        numbers = {int(address) for address in parsed if address.version == self.family}
        return replace(self, reserved=self.reserved | numbers)

    def text(self, number: int) -> str:
        """The address with this number."""
        return str(ipaddress.IPv4Address(number) if self.family == 4 else ipaddress.IPv6Address(number))


@dataclass(frozen=True, slots=True)
class Pools:
    """What `db.yaml` offers."""

    ipv4: Range | None = None
    ipv6: Range | None = None
    vmids: tuple[int, int] = (100, 999_999)
    default_expiry_days: int = 30
    grace_days: int = 7

    def without(self, addresses: Iterable[str]) -> Pools:
        """The same pools with more addresses that are never handed out."""
        known = list(addresses)
        return replace(
            self,
            ipv4=self.ipv4 and self.ipv4.without(known),
            ipv6=self.ipv6 and self.ipv6.without(known),
        )

    @classmethod
    def parse(cls, document: Mapping[str, Any], *, source: str) -> Pools:
        """Read the pools.

        Raises:
            ConfigError: names the key and what is wrong.
        """
        root = Fields(document, source=source)
        vmids = root.optional_child("vmid_range")
        return cls(
            ipv4=_ipv4(root.child("ip_pool"), source) if "ip_pool" in root else None,
            ipv6=_ipv6(root.child("ipv6_pool"), source) if document.get("ipv6_pool") else None,
            vmids=(vmids.optional("start", int, 100), vmids.optional("end", int, 999_999)),
            default_expiry_days=root.optional("default_expiry_days", int, 30),
            grace_days=root.optional("gc_grace_days", int, 7),
        )


def _ipv4(fields: Fields, source: str) -> Range:
    gateway = _number(fields, "gateway", 4)
    first, last = _number(fields, "start", 4), _number(fields, "end", 4)
    try:
        network = ipaddress.IPv4Network(fields.take("network", str), strict=False)
    except ValueError as error:
        raise ConfigError(source, "$.ip_pool.network", str(error)) from None
    lowest, highest = int(network.network_address), int(network.broadcast_address)
    found = Range(4, first, last, frozenset({gateway, lowest, highest} | _reserved(fields, 4)))
    if not lowest <= first <= last <= highest:
        raise ConfigError(
            source,
            "$.ip_pool",
            _("%(found)s is not a range in %(network)s") % {"found": found, "network": network},
        )
    return found


def _ipv6(fields: Fields, source: str) -> Range:
    first, last = _number(fields, "start", 6), _number(fields, "end", 6)
    reserved = _reserved(fields, 6)
    if "gateway" in fields:
        reserved.add(_number(fields, "gateway", 6))
    if first & 0xFFFF_FFFF_FFFF_FFFF == 0:
        reserved.add(first)  # the subnet-router anycast address (RFC 4291, 2.6.1)
    found = Range(6, first, last, frozenset(reserved))
    if found.first > found.last:
        raise ConfigError(source, "$.ipv6_pool", _("%(found)s is not a range") % {"found": found})
    return found


def _reserved(fields: Fields, family: int) -> set[int]:
    path = f"{fields.path}.reserved"
    return {_parsed(text, family, fields.source, path) for text in fields.strings("reserved", ())}


def _number(fields: Fields, key: str, family: int) -> int:
    return _parsed(fields.take(key, str), family, fields.source, f"{fields.path}.{key}")


def _parsed(text: str, family: int, source: str, path: str) -> int:
    try:
        return int(ipaddress.IPv4Address(text) if family == 4 else ipaddress.IPv6Address(text))
    except ValueError as error:
        raise ConfigError(source, path, str(error)) from None
