"""Who signed this? The one seam to OpenSSH; no cryptography of our own.

`ssh-keygen -Y check-novalidate` proves that a signature fits message and namespace, and names the
key that made it. Whether that key may do anything is the caller's question.
"""

from __future__ import annotations

import base64
import binascii
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from blockhost import command
from blockhost.engine_local import sshsig
from blockhost.engine_local.sshsig import SignatureRefused, SshSignature
from blockhost.errors import BlockhostError
from blockhost.files import write_atomic
from blockhost.i18n import gettext as _

NAMESPACE = "blockhost"
"""Signatures made for git, e-mail or another program are worth nothing here."""

DETERMINISTIC = ("ssh-ed25519", "ssh-rsa")
"""Key types that give the same signature for the same message each time (RFC 8032; PKCS #1 v1.5)."""

KEY_TYPES = (
    *DETERMINISTIC,
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)
"""Key types that may own something. Certificates are not among them: their authority can expire."""

MAX_KEY_FILE = 32 * 1024

_ADDRESS = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_GOOD = re.compile(r'Good "blockhost" signature with \S+ key (?P<fingerprint>SHA256:[A-Za-z0-9+/]{43})')


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An SSH public key: who someone is on this host."""

    fingerprint: str
    line: str
    """Type and base64, as `authorized_keys` takes it, without a comment."""

    @property
    def key_type(self) -> str:
        return self.line.split(" ", 1)[0]


def is_address(text: str) -> bool:
    """Is this the fingerprint of an SSH key, as ssh-keygen writes it?"""
    return _ADDRESS.fullmatch(text) is not None


def is_signature(text: str) -> bool:
    """Does this read as an SSH signature? For what, and whether it is true, `signer_of` tells."""
    try:
        sshsig.parse(text)
    except SignatureRefused:
        return False
    return True


def signer_of(message: str, signature: str) -> str:
    """The fingerprint of the key that signed `message` for this namespace.

    Raises:
        SignatureRefused: malformed, another namespace, another message, an unknown kind of key.
    """
    return signer_key(message, signature).fingerprint


def signer_key(message: str, signature: str) -> PublicKey:
    """As `signer_of`, with the public key, which travels inside the signature."""
    parts = sshsig.parse(signature)
    _check_kind(parts.key_type)
    if parts.namespace != NAMESPACE:
        raise SignatureRefused(
            _("This signature was made for “%(found)s”, not for “%(expected)s”.")
            % {"found": _shown(parts.namespace), "expected": NAMESPACE},
            hint=_("Sign with `ssh-keygen -Y sign -n blockhost`."),
        )
    named = _checked_by_ssh_keygen(message, parts)
    if named is None:
        raise SignatureRefused(
            _("The signature does not fit the message “%(message)s”.") % {"message": _shown(message)},
            hint=_why_not(message, parts),
        )
    if named != parts.fingerprint:
        raise SignatureRefused(_("ssh-keygen names another key than the signature carries."))
    return PublicKey(parts.fingerprint, parts.public_key)


def require_deterministic(key_type: str) -> None:
    """Refuse keys that sign the same message differently each time, where a key is derived from it."""
    if key_type in DETERMINISTIC:
        return
    raise SignatureRefused(
        _("A key of type %(kind)s cannot be used here: it signs the same message differently each time.")
        % {"kind": _shown(key_type)},
        hint=_(
            "Your signature is also the key of your configuration backup, so it must come out the same"
            " again. Use an Ed25519 or RSA key: `ssh-keygen -t ed25519`."
        ),
    )


def read_public_key(text: str, *, source: str) -> PublicKey:
    """One public key, as in a `.pub` file.

    Raises:
        BlockhostError: names `source` and what is wrong with it.
    """
    if "PRIVATE KEY" in text:
        raise BlockhostError(
            _("%(source)s: this is a private key") % {"source": source},
            hint=_("It must stay secret. Give the file that ends in .pub."),
        )
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) != 1:
        raise _bad_key(source, _("expected one public key, found %(count)d lines") % {"count": len(lines)})
    words = lines[0].split()
    if len(words) < 2 or words[0] not in KEY_TYPES:
        raise _bad_key(source, _("expected “ssh-ed25519 AAAA… comment” or another plain public key"))
    try:
        fingerprint = sshsig.fingerprint_of(base64.b64decode(words[1], validate=True))
    except binascii.Error:
        raise _bad_key(source, _("its base64 is damaged")) from None
    line = f"{words[0]} {words[1]}"
    answer = command.probe(["ssh-keygen", "-l", "-E", "sha256", "-f", "-"], stdin=line + "\n")
    if answer.code != 0 or fingerprint not in answer.stdout.split():
        raise _bad_key(source, _("ssh-keygen does not accept it"))
    return PublicKey(fingerprint, line)


def load_public_key(path: str, *, stdin: str | None = None) -> PublicKey:
    """The public key in a file; `-` takes `stdin`."""
    if stdin is not None and path == "-":
        return read_public_key(stdin, source=_("standard input"))
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_KEY_FILE + 1)
    except OSError as error:
        raise BlockhostError(f"{path}: {error.strerror}") from error
    if len(data) > MAX_KEY_FILE:
        raise _bad_key(path, _("larger than %(most)d bytes") % {"most": MAX_KEY_FILE})
    return read_public_key(data.decode("utf-8", "replace"), source=path)


def _check_kind(key_type: str) -> None:
    if key_type not in KEY_TYPES:
        raise SignatureRefused(
            _("Keys of type “%(kind)s” cannot own anything here.") % {"kind": _shown(key_type)},
            hint=_("Use an Ed25519 or RSA key: `ssh-keygen -t ed25519`."),
        )


def _checked_by_ssh_keygen(message: str, parts: SshSignature) -> str | None:
    """The fingerprint that ssh-keygen names, or None where the signature does not fit."""
    # ssh-keygen takes the signature only from a file; one that only we can read, as a signature
    # over the public secret is the key of the configuration backup.
    with tempfile.TemporaryDirectory(prefix="blockhost-signature-") as folder:
        file = Path(folder) / "signature"
        write_atomic(file, parts.armoured(), mode=0o600)
        argv = ["ssh-keygen", "-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(file)]
        answer = command.probe(argv, stdin=message, timeout=20)
    found = _GOOD.match(answer.stdout)
    return found["fingerprint"] if answer.code == 0 and found else None


def _why_not(message: str, parts: SshSignature) -> str:
    """The commonest reason: `echo` signed a line end that the message does not have."""
    if _checked_by_ssh_keygen(message + "\n", parts):
        return _("A line end was signed with it: use `printf %s` instead of `echo`.")
    return _("Sign exactly this message with the key whose fingerprint you gave.")


def _bad_key(source: str, reason: str) -> BlockhostError:
    return BlockhostError(
        _("%(source)s: not a usable public key: %(reason)s") % {"source": source, "reason": reason},
        hint=_("`ssh-keygen -t ed25519` makes a key; its public half is in ~/.ssh/id_ed25519.pub."),
    )


def _shown(text: str) -> str:
    """Foreign text, short and without control characters."""
    clean = "".join(letter if letter.isprintable() else "·" for letter in text)
    return clean if len(clean) <= 80 else clean[:79] + "…"
