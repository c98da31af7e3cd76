"""Reading SSH signatures (PROTOCOL.sshsig of OpenSSH): text to bytes to parts. It verifies nothing.

A signature travels through forms, shells and chat windows, which change its line ends. So all
of these are the same signature: the armoured text of `ssh-keygen -Y sign`, that text with CRLF or
with blanks for line ends, and its base64 alone on one line.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import textwrap
from dataclasses import dataclass

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _

BEGIN = "-----BEGIN SSH SIGNATURE-----"
END = "-----END SSH SIGNATURE-----"
MAGIC = b"SSHSIG"
VERSION = 1

#: The longest that a 16384-bit RSA key makes, with room to spare.
MAX_TEXT = 32 * 1024

_ARMOUR = re.compile(rf"\s*(?:{BEGIN})?(?P<body>[A-Za-z0-9+/=\s]+)(?:{END})?\s*")


class SignatureRefused(BlockhostError):
    """A signature is malformed, does not fit the message, or is of a kind that cannot be used here."""


@dataclass(frozen=True, slots=True)
class SshSignature:
    """The parts of one signature. Nothing in it is proven until `identity` has asked ssh-keygen."""

    key_type: str
    key_blob: bytes
    namespace: str
    raw: bytes
    """The signature itself (algorithm and value), without key and namespace."""
    blob: bytes
    """Everything, as it stood in the armour."""

    @property
    def fingerprint(self) -> str:
        """Of the public key inside: `SHA256:…`, as ssh-keygen prints it."""
        return fingerprint_of(self.key_blob)

    @property
    def public_key(self) -> str:
        """The public key inside as a line for `authorized_keys`."""
        return f"{self.key_type} {base64.b64encode(self.key_blob).decode()}"

    def armoured(self) -> str:
        """The one canonical text of this signature, as ssh-keygen reads it."""
        body = textwrap.fill(base64.b64encode(self.blob).decode(), 70)
        return f"{BEGIN}\n{body}\n{END}\n"

    def one_line(self) -> str:
        """The same as one word, for command lines."""
        return base64.b64encode(self.blob).decode()


def parse(text: str) -> SshSignature:
    """Read a signature in any of the accepted spellings.

    Raises:
        SignatureRefused: it is not an SSH signature; the text says what was found.
    """
    if len(text) > MAX_TEXT:
        raise _malformed(
            _("%(size)d characters, expected at most %(most)d") % {"size": len(text), "most": MAX_TEXT}
        )
    blob = _decode(text)
    reader = _Reader(blob)
    if reader.take(len(MAGIC)) != MAGIC:
        raise _malformed(_("it does not start with SSHSIG"))
    if reader.number() != VERSION:
        raise _malformed(_("its version is not %(known)d") % {"known": VERSION})
    key_blob, namespace, _reserved, _hash, raw = (reader.string() for _part in range(5))
    reader.end()
    return SshSignature(
        key_type=_ascii(_Reader(key_blob).string()),
        key_blob=key_blob,
        namespace=_ascii(namespace),
        raw=raw,
        blob=blob,
    )


def fingerprint_of(key_blob: bytes) -> str:
    """`SHA256:` and the unpadded base64 of the key's digest: OpenSSH's own notation."""
    digest = hashlib.sha256(key_blob).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _decode(text: str) -> bytes:
    found = _ARMOUR.fullmatch(text)
    if found is None:
        raise _malformed(_("expected the text between “BEGIN SSH SIGNATURE” and “END SSH SIGNATURE”"))
    try:
        return base64.b64decode("".join(found["body"].split()), validate=True)
    except binascii.Error:
        raise _malformed(_("its base64 is incomplete")) from None


def _ascii(data: bytes) -> str:
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise _malformed(_("a name in it is not plain text")) from None


def _malformed(reason: str) -> SignatureRefused:
    return SignatureRefused(
        _("This is not an SSH signature: %(reason)s") % {"reason": reason},
        hint=_("Paste the whole output of `ssh-keygen -Y sign -n blockhost`, both marker lines included."),
    )


class _Reader:
    """Length-prefixed strings (RFC 4251, section 5), never past the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        if size > len(self._data) - self._at:
            raise _malformed(_("it is cut short"))
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        return self.take(self.number())

    def end(self) -> None:
        if self._at != len(self._data):
            raise _malformed(_("there is something behind its end"))
