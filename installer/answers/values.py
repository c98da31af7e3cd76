"""Parsers of single values: a text becomes a value, or ValueError says what was expected.

The message completes "expected …"; whoever calls adds the field and what was found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TypeVar

from blockhost.i18n import gettext as _

T = TypeVar("T")

INTERFACE = r"^(?!\.{1,2}$)[A-Za-z0-9][A-Za-z0-9_.@-]{0,14}$"
DISK = (
    r"^(/dev/)?(sd[a-z]{1,3}|vd[a-z]{1,2}|xvd[a-z]{1,2}|hd[a-z]|nvme[0-9]{1,3}n[0-9]{1,3}|mmcblk[0-9]{1,2})$"
)
PARTITION = r"^(/dev/)?((?:sd|vd|xvd|hd)[a-z]{1,3})[0-9]+$|^(/dev/)?((?:nvme[0-9]+n|mmcblk)[0-9]+)p[0-9]+$"
LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
HOSTNAME = rf"^{LABEL}(\.{LABEL})*$"
EMAIL = rf"^[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{LABEL}(\.{LABEL})+$"
WORD = r"^[a-z][a-z0-9_-]{0,31}$"
COMMAND_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
NETMASK = r"^(/?([1-9]|[12][0-9]|3[01])|[0-9]{1,3}(\.[0-9]{1,3}){3})$"


def one_of(words: Iterable[str]) -> Callable[[str], str]:
    """One of a few words, exactly."""
    known = tuple(words)

    def parse(text: str) -> str:
        if text not in known:
            raise ValueError(_(" or ").join(known))
        return text

    return parse


def matching(pattern: str, expected: str) -> Callable[[str], str]:
    """A text that the whole pattern fits."""

    def parse(text: str) -> str:
        # fullmatch: Python's `$` would accept a trailing newline.
        if not re.fullmatch(pattern, text):
            raise ValueError(expected)
        return text

    return parse


def integer(lowest: int, highest: int) -> Callable[[str], int]:
    """A whole number in decimal digits within both bounds."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not lowest <= int(text) <= highest:
            raise ValueError(
                _("a whole number from %(lowest)d to %(highest)d") % {"lowest": lowest, "highest": highest}
            )
        return int(text)

    return parse


def listing(parse_item: Callable[[str], T], *, most: int) -> Callable[[str], tuple[T, ...]]:
    """Items separated by commas, each once, at least one."""

    def parse(text: str) -> tuple[T, ...]:
        items = tuple(parse_item(item.strip()) for item in text.split(","))
        if len(set(items)) < len(items):
            raise ValueError(_("each item once"))
        if len(items) > most:
            raise ValueError(_("at most %d items") % most)
        return items

    return parse


def token(text: str) -> str:
    """A non-empty text without white space."""
    if not text or any(character.isspace() for character in text):
        raise ValueError(_("one word without spaces"))
    return text


def line(text: str) -> str:
    """Any non-empty text."""
    if not text:
        raise ValueError(_("a text"))
    return text


def ipv4_host(text: str) -> IPv4Address:
    """An IPv4 address that a machine can have."""
    try:
        address = IPv4Address(text)
    except ValueError:
        raise ValueError(_("an IPv4 address such as 192.168.1.10")) from None
    if address.is_loopback or address.is_multicast or address.is_unspecified or address.is_reserved:
        raise ValueError(_("an address that a machine can have (not loopback, multicast or reserved)"))
    return address


def netmask(text: str) -> int:
    """The prefix length of `255.255.255.0`, `24` or `/24`."""
    expected = _("a netmask such as 255.255.255.0, or a prefix length from 1 to 31")
    if "." not in text:
        try:
            return integer(1, 31)(text.removeprefix("/"))
        except ValueError:
            raise ValueError(expected) from None
    try:
        bits = f"{int(IPv4Address(text)):032b}"
    except ValueError:
        raise ValueError(expected) from None
    length = len(bits.rstrip("0"))
    if "0" in bits[:length] or not 1 <= length <= 31:
        raise ValueError(expected)
    return length


def resolver(text: str) -> str:
    """The address of a DNS server, IPv4 or IPv6, in its canonical form."""
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(_("addresses of DNS servers such as 9.9.9.9, separated by commas")) from None
    if address.is_multicast or address.is_unspecified:
        raise ValueError(_("addresses of DNS servers such as 9.9.9.9, separated by commas"))
    return str(address)


def ipv6_prefix(text: str) -> IPv6Network:
    """An IPv6 network of 48 to 120 bits that may be routed."""
    expected = _("an IPv6 prefix of 48 to 120 bits such as 2001:db8:1:2::/64")
    if "/" not in text or "%" in text:
        raise ValueError(expected)
    try:
        network = IPv6Network(text, strict=False)
    except ValueError:
        raise ValueError(expected) from None
    if not 48 <= network.prefixlen <= 120:
        raise ValueError(expected)
    if IPv6Address(text.partition("/")[0]) != network.network_address:
        raise ValueError(_("a prefix whose host bits are zero, here %s") % network)
    first = network.network_address
    if first.is_link_local or first.is_multicast or first.is_loopback or first.is_unspecified:
        raise ValueError(_("a global or unique local prefix"))
    return network


def disk(text: str) -> str:
    """A whole disk as `/dev/NAME`."""
    if re.fullmatch(DISK, text):
        return "/dev/" + text.removeprefix("/dev/")
    if partition := re.fullmatch(PARTITION, text):
        whole = partition[2] or partition[4]
        raise ValueError(_("a whole disk such as /dev/%s, not one of its partitions") % whole)
    raise ValueError(_("a disk such as /dev/sda, vda or nvme0n1"))


def hostname(text: str) -> str:
    """A DNS name (RFC 1123) in lower case, not an address."""
    name = text.lower().removesuffix(".")
    if not name.isascii():
        try:
            ascii_form = name.encode("idna").decode()
        except UnicodeError:
            ascii_form = "xn--…"
        raise ValueError(_("a name in ASCII, here %s") % ascii_form)
    if len(name) > 253 or not re.fullmatch(HOSTNAME, name):
        raise ValueError(_("a DNS name such as host.example.org: letters, digits and inner hyphens"))
    if name.rsplit(".", 1)[-1].isdigit():
        raise ValueError(_("a name, not an address"))
    return name


def email(text: str) -> str:
    """A mail address that an ACME account accepts."""
    local, _at, domain = text.partition("@")
    if (
        len(text) > 254
        or not re.fullmatch(EMAIL, f"{local}@{domain.lower()}")
        or ".." in local
        or local.strip(".") != local
    ):
        raise ValueError(_("a mail address such as admin@example.org"))
    return text
