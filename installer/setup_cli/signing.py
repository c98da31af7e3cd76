"""The operator's side of an SSH-key wallet: fingerprint and signature, made by ssh-keygen.

Only the client signs. The appliance never sees the private key.
"""

from __future__ import annotations

from pathlib import Path

from blockhost import command
from blockhost.errors import BlockhostError, CommandFailed
from blockhost.files import make_dir
from blockhost.i18n import gettext as _
from blockhost.secret import Secret

NAMESPACE = "blockhost"


def wallet_of(key: Path) -> str:
    """The key's fingerprint, `SHA256:…`: the address of an SSH-key wallet.

    Raises:
        BlockhostError: there is no such key, or it cannot be read.
    """
    if not key.is_file():
        raise BlockhostError(
            _("%s: no such key") % key,
            hint=_(
                "Make one with `blockhost-setup sign --generate-key --key %s`, or apply with --generate-key"
            )
            % key,
        )
    return command.run(["ssh-keygen", "-l", "-E", "sha256", "-f", key]).split()[1]


def sign(key: Path, text: str) -> tuple[str, Secret]:
    """Address and signature of this key over `text`.

    Raises:
        BlockhostError: the key cannot sign.
    """
    address = wallet_of(key)
    try:
        # `-O` before the file name: ssh-keygen reads the text from stdin and asks nothing but a passphrase.
        signature = command.run(["ssh-keygen", "-Y", "sign", "-n", NAMESPACE, "-f", key], stdin=text.encode())
    except CommandFailed as error:
        raise BlockhostError(
            _("%s cannot sign: %s") % (key, error),
            hint=_("Is it protected by a passphrase? Load it into ssh-agent and name its public key"),
        ) from error
    return address, Secret(signature.strip())


def generate(key: Path) -> None:
    """Make an Ed25519 key without a passphrase; its signatures are deterministic.

    Raises:
        BlockhostError: a file of that name exists, or ssh-keygen failed.
    """
    if key.exists():
        raise BlockhostError(_("%s exists already") % key)
    if not key.parent.is_dir():
        make_dir(key.parent, mode=0o700)
    command.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "blockhost-owner", "-f", key])
