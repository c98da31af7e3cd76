"""A certificate on disk, and the few facts that are asked of it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtensionOID

from blockhost.errors import DamagedFile
from blockhost.i18n import gettext as _


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server needs, and the SHA-256 fingerprint that a browser shows."""

    cert_file: Path
    key_file: Path
    fingerprint: str


def fingerprint(cert_file: Path) -> str:
    """SHA-256 of the (first) certificate in the file, as `AA:BB:…`.

    Raises:
        FileNotFoundError, DamagedFile: there is no certificate in it.
    """
    return load(cert_file).fingerprint(hashes.SHA256()).hex(":").upper()


def load(cert_file: Path) -> x509.Certificate:
    """The first certificate in the file.

    Raises:
        FileNotFoundError, DamagedFile: as `fingerprint`.
    """
    try:
        return x509.load_pem_x509_certificate(cert_file.read_bytes())
    except ValueError as error:
        raise DamagedFile(
            cert_file,
            _("not a certificate (%(error)s)") % {"error": error},
            remedy=_("Remove %(cert_file)s") % {"cert_file": cert_file},
        ) from error


def names_of(certificate: x509.Certificate) -> set[str]:
    """Its subject alternative names, addresses in their usual form."""
    try:
        extension = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    except x509.ExtensionNotFound:
        return set()
    value = extension.value
    assert isinstance(value, x509.SubjectAlternativeName)
    return {
        *value.get_values_for_type(x509.DNSName),
        *(str(address) for address in value.get_values_for_type(x509.IPAddress)),
    }


def general_names(names: list[str]) -> list[x509.GeneralName]:
    """Names for a certificate: addresses as addresses, all else as DNS names."""
    return [_general_name(name) for name in names]


def validity(certificate: x509.Certificate) -> tuple[datetime, datetime]:
    """From when and until when it is valid.

    python3-cryptography 38 (Debian 12) has naive times only; from 42 on those are deprecated.
    """
    newer: Any = certificate
    if hasattr(certificate, "not_valid_after_utc"):
        return newer.not_valid_before_utc, newer.not_valid_after_utc
    return certificate.not_valid_before.replace(tzinfo=UTC), certificate.not_valid_after.replace(tzinfo=UTC)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.encode("idna").decode() if not name.isascii() else name)
