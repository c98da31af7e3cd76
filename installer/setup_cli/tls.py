"""HTTPS to exactly one certificate: its fingerprint is compared before a byte of HTTP is sent.

Names and authorities prove nothing to a machine that has just been installed; the fingerprint on
its console does. A setup may put another certificate in its place (step `https`). The new one is
accepted only if its fingerprint was announced over a connection that was itself pinned.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import socket
import ssl

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _


class CertificateMismatch(BlockhostError):
    """The machine that answered is not the one whose fingerprint was given."""


class Pins:
    """The fingerprints that are accepted: the operator's, and what a pinned server announced."""

    def __init__(self, first: str) -> None:
        self._accepted = {parse_fingerprint(first)}

    def announce(self, fingerprint: str) -> None:
        """Accept this one too. Only for what came over a pinned connection; nonsense is ignored."""
        try:
            self._accepted.add(parse_fingerprint(fingerprint))
        except BlockhostError:
            return

    def check(self, certificate: bytes) -> None:
        """Compare a served leaf.

        Raises:
            CertificateMismatch: it is none of the accepted.
        """
        served = hashlib.sha256(certificate).digest()
        if served not in self._accepted:
            raise CertificateMismatch(
                _("the server's certificate has another fingerprint: %s") % colons(served),
                hint=_("Nothing was sent. Compare with the console: either the address is another machine's, "
                       "or somebody answers in its place"),
            )  # fmt: skip


class PinnedConnection(http.client.HTTPSConnection):
    """An HTTPS connection that is checked against pins as it opens."""

    def __init__(self, host: str, port: int, *, pins: Pins, timeout: float) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Trust comes from the pin alone, checked in connect() below.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        super().__init__(host, port, timeout=timeout, context=context)
        self._pins = pins

    def connect(self) -> None:
        super().connect()
        try:
            assert isinstance(self.sock, ssl.SSLSocket)
            self._pins.check(self.sock.getpeercert(binary_form=True) or b"")
        except BaseException:
            self.close()
            raise


def parse_fingerprint(text: str) -> bytes:
    """The 32 bytes of a SHA-256 fingerprint: hexadecimal, colons and blanks as one likes.

    Raises:
        BlockhostError: it is something else.
    """
    digits = re.sub(r"[:\s-]", "", re.sub(r"^\s*sha-?256[:=\s]", "", text, flags=re.IGNORECASE))
    if not re.fullmatch(r"[0-9A-Fa-f]{64}", digits):
        raise BlockhostError(
            _("expected a SHA-256 fingerprint (64 hexadecimal digits), got %d characters") % len(text),
            hint=_("The console shows it below the address: AA:BB:…"),
        )
    return bytes.fromhex(digits)


def colons(digest: bytes) -> str:
    """A fingerprint as the console writes it."""
    return digest.hex(":").upper()


#: What a server does that restarts, or an nginx that swaps its configuration.
ConnectionTrouble = (
    ConnectionError,
    TimeoutError,
    socket.gaierror,
    http.client.HTTPException,
    ssl.SSLError,
    OSError,
)
