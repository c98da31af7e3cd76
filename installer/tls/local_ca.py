"""A certificate authority of this host alone, so that TLS works from the first byte.

The leaf is used again while it is valid, belongs to our authority and covers the names: the
fingerprint that an operator compared stays the same. The key is made once; renewing replaces one
file, so that certificate and key fit together at every moment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from blockhost import paths
from blockhost.errors import DamagedFile, StepFailed
from blockhost.files import make_dir, write_atomic
from blockhost.i18n import gettext as _
from installer.tls.certificate import Certificate, fingerprint, general_names, load, names_of, validity
from installer.tls.names import host_name

__all__ = ["Certificate", "ca_file", "ensure_certificate", "fingerprint", "tls_dir"]

CA_DAYS = 3650
#: Below the 398 days that browsers accept at most.
LEAF_DAYS = 397
RENEW_BEFORE = timedelta(days=30)
#: A machine without a battery-backed clock may be late; its certificate must not be from the future.
CLOCK_SLACK = timedelta(days=2)


def tls_dir() -> Path:
    return paths.config_dir() / "tls"


def ca_file() -> Path:
    """The authority's certificate: what an operator may import into a browser."""
    return tls_dir() / "ca.crt"


def ensure_certificate(names: Sequence[str]) -> Certificate:
    """A certificate of the local authority for (at least) these names; the one at hand if it does.

    Raises:
        StepFailed: no names were given.
    """
    wanted = [name for name in dict.fromkeys(names) if name]
    if not wanted:
        raise StepFailed(_("a certificate needs at least one name or address"))
    cert_file, key_file = tls_dir() / "server.crt", tls_dir() / "server.key"
    make_dir(tls_dir(), mode=0o755)
    ca_key = _ensure_key(tls_dir() / "ca.key")
    ca = _ensure_ca(ca_key)
    key = _ensure_key(key_file)
    if not _is_good(cert_file, key, ca, wanted):
        leaf = _sign_leaf(wanted, key, ca, ca_key)
        write_atomic(cert_file, leaf.public_bytes(serialization.Encoding.PEM), mode=0o644)
    return Certificate(cert_file, key_file, fingerprint(cert_file))


def is_current(names: Sequence[str]) -> bool:
    """Whether the certificate at hand is good for these names; nothing is changed."""
    try:
        key = _load_key(tls_dir() / "server.key")
        ca = load(ca_file())
    except (FileNotFoundError, DamagedFile):
        return False
    return _is_good(tls_dir() / "server.crt", key, ca, names)


def _is_good(
    cert_file: Path, key: ec.EllipticCurvePrivateKey, ca: x509.Certificate, names: Sequence[str]
) -> bool:
    try:
        leaf = load(cert_file)
    except (FileNotFoundError, DamagedFile):
        return False
    begins, ends = validity(leaf)
    now = datetime.now(UTC)
    covers = {_plain(name) for name in names} <= names_of(leaf)
    fits = _same_key(leaf, key)
    return begins <= now < ends - RENEW_BEFORE and covers and fits and _is_signed_by(leaf, ca)


def _plain(name: str) -> str:
    """A name as `names_of` gives it."""
    (general,) = general_names([name])
    return str(general.value)


def _same_key(leaf: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bool:
    return _public_bytes(leaf.public_key()) == _public_bytes(key.public_key())


def _public_bytes(key: object) -> bytes:
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _is_signed_by(leaf: x509.Certificate, ca: x509.Certificate) -> bool:
    public = ca.public_key()
    algorithm = leaf.signature_hash_algorithm
    if not isinstance(public, ec.EllipticCurvePublicKey) or algorithm is None:
        return False
    with contextlib.suppress(InvalidSignature):
        public.verify(leaf.signature, leaf.tbs_certificate_bytes, ec.ECDSA(algorithm))
        return leaf.issuer == ca.subject
    return False


def _ensure_key(path: Path) -> ec.EllipticCurvePrivateKey:
    with contextlib.suppress(FileNotFoundError, DamagedFile):
        return _load_key(path)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_atomic(path, pem, mode=0o600)
    return key


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise DamagedFile(
            path, _("not a private key"), remedy=_("Remove %(path)s") % {"path": path}
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise DamagedFile(
            path, _("not a key of an elliptic curve"), remedy=_("Remove %(path)s") % {"path": path}
        )
    return key


def _ensure_ca(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    with contextlib.suppress(FileNotFoundError, DamagedFile):
        ca = load(ca_file())
        begins, ends = validity(ca)
        now = datetime.now(UTC)
        if _same_key(ca, key) and begins <= now < ends - timedelta(days=LEAF_DAYS):
            return ca
    ca = _sign_ca(key)
    write_atomic(ca_file(), ca.public_bytes(serialization.Encoding.PEM), mode=0o644)
    return ca


def _sign_ca(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = _name(f"BlockHost local authority of {host_name()}")
    usage = _usage(digital_signature=False, key_cert_sign=True, crl_sign=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        _builder(name, name, key.public_key(), CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )


def _sign_leaf(
    names: list[str],
    key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    alternative = x509.SubjectAlternativeName(general_names(names))
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return (
        _builder(_name(names[0]), ca.subject, key.public_key(), LEAF_DAYS)
        .add_extension(alternative, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(authority, critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SLACK)
        .not_valid_after(now - CLOCK_SLACK + timedelta(days=days))
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])  # ub-common-name, RFC 5280


def _usage(*, digital_signature: bool, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
