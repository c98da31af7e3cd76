"""What action modules of other packages may import from here (the names are a contract).

Ours use typed parameters instead (`blockhost.root_agent.action`); these serve plain handlers.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Sequence

from blockhost import command, paths
from blockhost.errors import CommandFailed
from blockhost.i18n import gettext as _
from blockhost.root_agent.values import RESERVED_WALLETS, HostAddress

log = logging.getLogger("blockhost.root_agent.actions")

CONFIG_DIR = paths.config_dir()
STATE_DIR = paths.state_dir()
VMID_MIN, VMID_MAX = 100, 999_999_999

# `\Z`, since `$` would also accept a trailing newline with match().
NAME_RE = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
SHORT_NAME_RE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}\Z")
STORAGE_RE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
COMMENT_RE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:@/-]{0,63}\Z")
IPV6_CIDR128_RE = re.compile(r"[0-9A-Fa-f:.]{2,45}/128\Z")
_ADDRESS_RE = re.compile(r"(?:0x[0-9a-fA-F]{40}|0x[0-9a-fA-F]{64}|SHA256:[A-Za-z0-9+/]{43})\Z")

ALLOWED_ROUTE_DEVS = frozenset({"br0", "vmbr0", "virbr0"})
WALLET_DENY_NAMES = RESERVED_WALLETS


def run(argv: Sequence[str], timeout: float = 120) -> tuple[int, str, str]:
    """Run a program; its exit code, stdout and stderr."""
    try:
        done = command.probe(argv, timeout=timeout)
    except CommandFailed as error:
        return 1, "", str(error)
    return done.code, done.stdout, done.stderr


def validate_vmid(value: object) -> int:
    """The VM id, or ValueError."""
    if not isinstance(value, int) or isinstance(value, bool) or not VMID_MIN <= value <= VMID_MAX:
        raise ValueError(
            _("vmid: expected a whole number from %(vmid_min)s to %(vmid_max)s")
            % {"vmid_min": VMID_MIN, "vmid_max": VMID_MAX}
        )
    return value


def validate_ipv6_128(value: object) -> str:
    """The address in its short form with /128, or ValueError."""
    return str(HostAddress(value))


def validate_dev(value: object) -> str:
    """The device that routes may point to, or ValueError."""
    if not isinstance(value, str) or value not in ALLOWED_ROUTE_DEVS:
        raise ValueError(_("dev: not a device that VMs are routed to"))
    return value


def is_valid_address(value: object) -> bool:
    """True for an identity of any engine, and for an IP address of a host."""
    if not isinstance(value, str):
        return False
    if _ADDRESS_RE.match(value):
        return True
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True
