"""Public SSH keys as the guest gets them: no options, no comments that could break a line."""

from __future__ import annotations

import base64
import binascii
import re

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _

MOST = 16
_KEY = re.compile(
    r"((?:sk-)?(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521))(?:@openssh\.com)?)"
    r" +([A-Za-z0-9+/=]{16,2000})"
    r"(?: +[^\x00-\x1f\x7f]{0,200})?"
)


def parse_keys(text: str, source: str) -> list[str]:
    """The keys in a file, as `type base64`; empty lines and comments are skipped.

    Raises:
        BlockhostError: a line is no key, or there are none or too many.
    """
    keys = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _KEY.fullmatch(line.strip())
        if found is None or not _is_of(found[1], found[2]):
            raise BlockhostError(
                _("%(source)s:%(number)s: not a public key; expected `ssh-ed25519 AAAA…`")
                % {"source": source, "number": number}
            )
        keys.append(f"{found[1]} {found[2]}")
    if not 1 <= len(keys) <= MOST:
        raise BlockhostError(
            _("%(source)s: expected 1 to %(most)s public keys, found %(count)s")
            % {"source": source, "most": MOST, "count": len(keys)}
        )
    return keys


def _is_of(kind: str, data: str) -> bool:
    """Whether the key itself says the same type as its line (RFC 4253, 6.6)."""
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return False
    name = kind.encode()
    return raw.startswith(len(name).to_bytes(4, "big") + name)
