"""Parameter types of root-agent actions: constructing one is the allow-list.

Each takes exactly what JSON gave (no coercion: `true` is not 1, `"22"` is not 22), checks it
whole, and raises ValueError. The message says what is expected and never repeats the value, so
that it can be logged.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, ClassVar, Self

from blockhost.config_files import HOT_KEY, TABLE
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_

#: Roles of the addressbook that the system itself fills.
RESERVED_WALLETS = frozenset({"admin", "server", "dev", "broker"})
#: Wallets whose `<name>.key` somebody else writes: asking for one would make or read their key.
FOREIGN_KEYS = frozenset(
    row.name.removesuffix(".key") for row in TABLE if row.name.endswith(".key") and row is not HOT_KEY
)
#: First words of a path that other parts of the site answer.
RESERVED_PREFIXES = frozenset({"wizard", "api", "static", "login", "logout", "healthz"})


class Text(str):
    """A string that matches PATTERN from its first to its last character."""

    PATTERN: ClassVar[str]
    EXPECTED: ClassVar[str]
    #: Logged as length and checksum instead of the text itself.
    IS_LONG: ClassVar[bool] = False

    def __new__(cls, value: object) -> Self:
        # fullmatch, since `$` would also accept a trailing newline.
        if not isinstance(value, str) or not re.fullmatch(cls.PATTERN, value):
            raise ValueError(_("expected %(expected)s") % {"expected": cls.expected()})
        return super().__new__(cls, cls.normal(value))

    @classmethod
    def expected(cls) -> str:
        """What is accepted, in words."""
        return _(cls.EXPECTED)

    @classmethod
    def normal(cls, value: str) -> str:
        """The one way to write this value; raises ValueError for what no pattern can tell."""
        return value


class Number(int):
    """An integer from LOWEST to HIGHEST."""

    LOWEST: ClassVar[int]
    HIGHEST: ClassVar[int]

    def __new__(cls, value: object) -> Self:
        if not isinstance(value, int) or isinstance(value, bool) or not cls.LOWEST <= value <= cls.HIGHEST:
            raise ValueError(
                _("expected a whole number from %(lowest)s to %(highest)s")
                % {"lowest": cls.LOWEST, "highest": cls.HIGHEST}
            )
        return super().__new__(cls, value)


class HostAddress(Text):
    """One global IPv6 address with prefix length 128, in its short form."""

    PATTERN = r"[0-9A-Fa-f:.]{2,45}/128"
    EXPECTED = N_("an IPv6 address followed by /128")

    @classmethod
    def normal(cls, value: str) -> str:
        try:
            address = ipaddress.IPv6Address(value.removesuffix("/128"))
        except ValueError:
            raise ValueError(_("expected %(expected)s") % {"expected": cls.expected()}) from None
        if address.is_multicast or address.is_loopback or address.is_link_local or address.is_unspecified:
            raise ValueError(_("expected the address of a host, not a multicast, loopback or link-local one"))
        if address.ipv4_mapped is not None:
            raise ValueError(_("expected an IPv6 address, not a mapped IPv4 one"))
        return f"{address}/128"


class BridgePort(Text):
    """A bridge that virtual machines are connected to."""

    PATTERN = r"(?:br|vmbr|virbr)[0-9]{1,4}"
    EXPECTED = N_("the name of a bridge, like br0")


class VmName(Text):
    """The name of a virtual machine. It never starts with a dash: it is an argument of programs."""

    PATTERN = r"[a-z0-9][a-z0-9-]{0,63}"
    EXPECTED = N_("1 to 64 of the characters a-z 0-9 -, not starting with a dash")


class Port(Number):
    """A TCP or UDP port."""

    LOWEST = 1
    HIGHEST = 65535


class Duration(Number):
    """Seconds, up to 30 days."""

    LOWEST = 1
    HIGHEST = 30 * 24 * 3600


class Protocol(Text):
    PATTERN = "tcp|udp"
    EXPECTED = N_("tcp or udp")


class Comment(Text):
    """A remark in the firewall's rules: no quote, no control character."""

    PATTERN = r"[A-Za-z0-9][A-Za-z0-9 ._:@/-]{0,63}"
    EXPECTED = N_("1 to 64 letters, digits, spaces or . _ : @ / -")


class WalletName(Text):
    """The name of a wallet that may be generated: not one of the system's own."""

    PATTERN = r"[a-z0-9][a-z0-9_-]{0,31}"
    EXPECTED = N_("1 to 32 of the characters a-z 0-9 _ -")

    @classmethod
    def normal(cls, value: str) -> str:
        if value in RESERVED_WALLETS | FOREIGN_KEYS:
            raise ValueError(_("expected a name that the system does not use itself"))
        return value


class PathPrefix(Text):
    """Where the admin panel is served, like /admin: what nginx_site accepts."""

    PATTERN = r"(?:/[a-z0-9][a-z0-9_-]{0,63}){1,4}"
    EXPECTED = N_("a path such as /admin, of the characters a-z 0-9 _ -")

    @classmethod
    def normal(cls, value: str) -> str:
        if value.split("/")[1] in RESERVED_PREFIXES:
            raise ValueError(_("expected a path that no other page uses"))
        return value


class HostName(Text):
    """The name of this machine: labels of letters, digits and dashes."""

    PATTERN = r"(?=.{1,64}\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*"
    EXPECTED = N_("a host name in lower case, at most 64 characters")


class Address(Text):
    """An identity as any engine writes it: a hex address, or a key's fingerprint."""

    PATTERN = r"(?:0x[0-9a-fA-F]{40}|0x[0-9a-fA-F]{64}|SHA256:[A-Za-z0-9+/]{43})"
    EXPECTED = N_("0x and 40 or 64 hex digits, or SHA256: and 43 characters")


class KeyFileName(Text):
    """A key file directly in the configuration directory."""

    PATTERN = r"(?:/etc/blockhost/)?[a-z0-9][a-z0-9_-]{0,31}\.key"
    EXPECTED = N_("a file name ending in .key in /etc/blockhost")


class Role(Text):
    """A name in the addressbook."""

    PATTERN = r"[a-z0-9][a-z0-9_-]{0,31}"
    EXPECTED = N_("1 to 32 of the characters a-z 0-9 _ -")


class AddressBook(dict[str, Any]):
    """The whole addressbook: `{role: {"address", "keyfile"?}}`, at most 256 entries."""

    MOST = 256

    def __init__(self, value: object) -> None:
        if not isinstance(value, dict) or len(value) > self.MOST:
            raise ValueError(_("expected an object of at most %(most)s entries") % {"most": self.MOST})
        super().__init__({str(Role(role)): self._entry(entry) for role, entry in value.items()})

    @staticmethod
    def _entry(entry: object) -> dict[str, str]:
        if not isinstance(entry, dict) or not {"address"} <= set(entry) <= {"address", "keyfile"}:
            raise ValueError(_("expected entries with address and, optionally, keyfile"))
        checked = {"address": str(Address(entry["address"]))}
        if "keyfile" in entry:
            checked["keyfile"] = str(KeyFileName(entry["keyfile"]))
        return checked
