"""Encryption under a key that only the owner's signature yields.

Layout (the symmetric format of the chain contract): `0x` and hex of IV 12, ciphertext, tag 16.
The key is HKDF-SHA256 of the signature, so the same message signed again by the same key opens it;
hence only key types whose signatures are deterministic.

`cryptography` is imported where it is used: the wizard imports this plugin before its first page,
and encrypts nothing then.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from blockhost.engine_local import sshsig
from blockhost.engine_local.identity import require_deterministic
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _

IV_SIZE = 12
TAG_SIZE = 16

_PURPOSE = b"blockhost engine-local symmetric 1"


class DecryptionFailed(BlockhostError):
    """A ciphertext is damaged, or the signature is not the one that it was made with."""


def derive_key(signature: str) -> bytes:
    """The 32-byte key of a signature; how the signature's text was wrapped does not matter.

    Raises:
        SignatureRefused: malformed, or of a key that signs differently each time.
    """
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

    parts = sshsig.parse(signature)
    require_deterministic(parts.key_type)
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=_PURPOSE).derive(parts.raw)


def encrypt(signature: str, plaintext: bytes) -> str:
    """Ciphertext as hex; each call uses a fresh IV."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    iv = os.urandom(IV_SIZE)
    return "0x" + (iv + AESGCM(derive_key(signature)).encrypt(iv, plaintext, None)).hex()


def decrypt(signature: str, ciphertext: str) -> bytes:
    """What was encrypted under this signature.

    Raises:
        SignatureRefused: as `derive_key`.
        DecryptionFailed: not such a ciphertext, altered, or another signature.
    """
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    key = derive_key(signature)
    data = _from_hex(ciphertext)
    try:
        return AESGCM(key).decrypt(data[:IV_SIZE], data[IV_SIZE:], None)
    except InvalidTag:
        raise DecryptionFailed(
            _("The data cannot be decrypted with this signature."),
            hint=_("Sign the same message with the same key as then; or the data was altered."),
        ) from None


def encrypt_config(signature: str, plaintext: str | Mapping[str, Any]) -> str:
    """A configuration (its JSON text, or the object) as hex, for the backup download."""
    text = plaintext if isinstance(plaintext, str) else json.dumps(dict(plaintext), ensure_ascii=False)
    return encrypt(signature, text.encode())


def decrypt_config(signature: str, ciphertext: str) -> dict[str, Any]:
    """The configuration in a backup.

    Raises:
        SignatureRefused, DecryptionFailed: as `decrypt`.
    """
    try:
        document = json.loads(decrypt(signature, ciphertext))
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise DecryptionFailed(_("What was encrypted there is not a configuration."))
    return document


def _from_hex(text: str) -> bytes:
    word = text.strip()
    try:
        data = bytes.fromhex(word.removeprefix("0x"))
    except ValueError:
        raise DecryptionFailed(_("The ciphertext is not hexadecimal.")) from None
    if len(data) < IV_SIZE + TAG_SIZE:
        raise DecryptionFailed(_("The ciphertext is cut short."))
    return data
