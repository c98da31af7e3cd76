"""Texts that only the holder of an SSH private key can read, in the format of age (age-encryption.org/v1).

The recipient needs nothing of ours: `age --decrypt -i ~/.ssh/id_ed25519`. The primitives are those of
`cryptography`; the format is age's, whose own program reads what we write in our tests.

The wizard must not import this module: it starts without `cryptography`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import struct
import textwrap

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _

#: Other keys (ECDSA, hardware) can sign, and cannot be encrypted to.
SEALABLE = ("ssh-ed25519", "ssh-rsa")

BEGIN = "-----BEGIN AGE ENCRYPTED FILE-----"
END = "-----END AGE ENCRYPTED FILE-----"
MAX_TEXT = 64 * 1024  # one chunk of age's stream

_VERSION = b"age-encryption.org/v1"
_ED25519 = b"age-encryption.org/v1/ssh-ed25519"
_RSA = b"age-encryption.org/v1/ssh-rsa"
_P = 2**255 - 19
_STANZA = re.compile(
    rb"-> (?P<kind>\S+) (?P<args>[^\n]+)\n(?P<body>(?:[A-Za-z0-9+/]{64}\n)*[A-Za-z0-9+/]{0,63}\n)"
)


class CannotSeal(BlockhostError):
    """Nothing can be encrypted to this kind of key."""


class CannotOpen(BlockhostError):
    """It is not such a text, it was altered, or it was meant for another key."""


def is_sealable(public_key: str) -> bool:
    """Can a text be encrypted to this public key (an `authorized_keys` line)?"""
    return public_key.split(" ", 1)[0] in SEALABLE


def seal(public_key: str, plaintext: bytes) -> bytes:
    """The plaintext as an age file for that public key.

    Raises:
        CannotSeal: the key is of a kind that signs only, or the text is too long.
    """

    if len(plaintext) > MAX_TEXT:
        raise CannotSeal(_("longer than %(most)d bytes") % {"most": MAX_TEXT})
    file_key, nonce = os.urandom(16), os.urandom(16)
    header = _VERSION + b"\n" + _stanza_for(public_key, file_key) + b"---"
    payload_key = _derived(file_key, nonce, b"payload")
    # Chunk 0, which is the last one.
    body = ChaCha20Poly1305(payload_key).encrypt(bytes(11) + b"\x01", plaintext, None)
    return header + b" " + _text(_mac(file_key, header)) + b"\n" + nonce + body


def open_sealed(private_key: bytes, sealed: bytes) -> bytes:
    """What was sealed for this OpenSSH private key (without passphrase).

    Raises:
        CannotOpen: says why.
    """

    header, mac, nonce, body = _parts(sealed)
    file_key = _file_key(private_key, header)
    if not hmac.compare_digest(_text(_mac(file_key, header)), mac):
        raise CannotOpen(_("The text was altered."))
    try:
        key = _derived(file_key, nonce, b"payload")
        return ChaCha20Poly1305(key).decrypt(bytes(11) + b"\x01", body, None)
    except InvalidTag:
        raise CannotOpen(_("The text was altered.")) from None


def is_for(public_key: str, sealed: bytes) -> bool:
    """Was this sealed for that public key, as far as its header says?"""
    match = _STANZA.search(sealed)
    blob = base64.b64decode(public_key.split(" ")[1])
    return match is not None and match["args"].split(b" ")[0] == _mark(blob)


def armoured(sealed: bytes) -> str:
    """The same as text that survives e-mail."""
    body = textwrap.fill(base64.b64encode(sealed).decode(), 64)
    return f"{BEGIN}\n{body}\n{END}\n"


def from_armour(text: str) -> bytes:
    """The bytes in such a text.

    Raises:
        CannotOpen: it is none.
    """
    lines = text.strip().splitlines()
    if len(lines) < 3 or lines[0].strip() != BEGIN or lines[-1].strip() != END:
        raise CannotOpen(_("This is not an age file: expected “%(begin)s”.") % {"begin": BEGIN})
    try:
        return base64.b64decode("".join(line.strip() for line in lines[1:-1]), validate=True)
    except ValueError:
        raise CannotOpen(_("The text was altered.")) from None


# --- for whom --------------------------------------------------------------------------------


def _stanza_for(public_key: str, file_key: bytes) -> bytes:
    """The file key, wrapped for one recipient."""

    if not is_sealable(public_key):
        raise CannotSeal(
            _("Nothing can be encrypted to a key of type %(kind)s.") % {"kind": public_key.split(" ", 1)[0]},
            hint=_("Ed25519 and RSA keys can be: `ssh-keygen -t ed25519`."),
        )
    blob = base64.b64decode(public_key.split(" ")[1])
    mark = _mark(blob)
    try:
        key = load_ssh_public_key(public_key.encode())
    except ValueError as error:
        raise CannotSeal(str(error)) from error
    if isinstance(key, RSAPublicKey):
        if key.key_size < 2048:
            raise CannotSeal(_("An RSA key of %(bits)d bits is too short.") % {"bits": key.key_size})
        return _stanza(b"ssh-rsa " + mark, key.encrypt(file_key, _oaep()))
    return _ed25519_stanza(blob, mark, file_key)


def _ed25519_stanza(blob: bytes, mark: bytes, file_key: bytes) -> bytes:
    theirs = _montgomery(blob[-32:])
    ephemeral = X25519PrivateKey.generate()
    ours = ephemeral.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    shared = _exchanged(_tweak(blob), _exchange_with(ephemeral, theirs))
    wrapping = _derived(shared, ours + theirs, _ED25519)
    return _stanza(
        b"ssh-ed25519 " + mark + b" " + _text(ours),
        ChaCha20Poly1305(wrapping).encrypt(bytes(12), file_key, None),
    )


def _stanza(first: bytes, body: bytes) -> bytes:
    """Lines of 64; the last one is shorter, be it empty."""
    text = _text(body)
    lines = [text[at : at + 64] for at in range(0, len(text) + 1, 64)]
    return b"-> " + first + b"\n" + b"\n".join(lines) + b"\n"


def _file_key(private_key: bytes, header: bytes) -> bytes:
    try:
        key = load_ssh_private_key(private_key, password=None)
    except (ValueError, UnsupportedAlgorithm, TypeError):
        raise CannotOpen(
            _("This is not an OpenSSH private key that can be used here."),
            hint=_("A key with a passphrase is opened by `age --decrypt -i KEYFILE`."),
        ) from None
    match = _STANZA.fullmatch(header.removeprefix(_VERSION + b"\n").removesuffix(b"---"))
    if match is None:
        raise CannotOpen(_("The text was altered."))
    try:
        return _unwrapped(
            key, match["kind"], match["args"].split(b" "), _bytes(match["body"].replace(b"\n", b""))
        )
    except (InvalidTag, ValueError, IndexError):
        raise CannotOpen(_("It was not encrypted for this key.")) from None


def _unwrapped(key: object, kind: bytes, words: list[bytes], body: bytes) -> bytes:
    if kind == b"ssh-rsa" and isinstance(key, RSAPrivateKey):
        return key.decrypt(body, _oaep())
    if kind != b"ssh-ed25519" or not isinstance(key, Ed25519PrivateKey):
        raise ValueError(kind)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    ours = _bytes(words[1])
    scalar = X25519PrivateKey.from_private_bytes(hashlib.sha512(seed).digest()[:32])
    blob = b"".join(struct.pack(">I", len(part)) + part for part in (b"ssh-ed25519", public))
    shared = _exchanged(_tweak(blob), _exchange_with(scalar, ours))
    wrapping = _derived(shared, ours + _montgomery(public), _ED25519)
    return ChaCha20Poly1305(wrapping).decrypt(bytes(12), body, None)


def _parts(sealed: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Header up to its `---`, its code, the nonce and the body."""
    match = re.match(
        rb"(?P<header>age-encryption\.org/v1\n.*?\n---) (?P<mac>[A-Za-z0-9+/]{43})\n", sealed, re.DOTALL
    )
    if match is None or len(sealed) < match.end() + 32:
        raise CannotOpen(_("This is not an age file, or it is cut short."))
    rest = sealed[match.end() :]
    return match["header"], match["mac"], rest[:16], rest[16:]


# --- arithmetic ------------------------------------------------------------------------------


def _montgomery(edwards: bytes) -> bytes:
    """The X25519 key of an Ed25519 public key: u = (1 + y) / (1 - y), RFC 7748."""
    y = int.from_bytes(edwards, "little") & ((1 << 255) - 1)
    u = (1 + y) * pow(1 - y, -1, _P) % _P
    return u.to_bytes(32, "little")


def _mark(blob: bytes) -> bytes:
    """By which a recipient finds the stanza that is meant for this key."""
    return _text(hashlib.sha256(blob).digest()[:4])


def _tweak(blob: bytes) -> bytes:
    return _derived(b"", blob, _ED25519)


def _exchanged(private: bytes, public: bytes) -> bytes:
    return _exchange_with(X25519PrivateKey.from_private_bytes(private), public)


def _exchange_with(private: X25519PrivateKey, public: bytes) -> bytes:
    return private.exchange(X25519PublicKey.from_public_bytes(public))


def _oaep() -> padding.OAEP:
    return padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=_RSA)


def _derived(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt or None, info=info).derive(secret)


def _mac(file_key: bytes, header: bytes) -> bytes:
    return hmac.new(_derived(file_key, b"", b"header"), header, hashlib.sha256).digest()


def _text(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _bytes(text: bytes) -> bytes:
    return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
