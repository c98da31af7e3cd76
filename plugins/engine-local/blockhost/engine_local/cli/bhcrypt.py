"""`bhcrypt`: encrypt and decrypt under an SSH signature, and open what was sealed for an SSH key.

The contract's verbs that make or convert keys of a chain are refused: identities here are SSH keys.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from blockhost import command_line
from blockhost.engine_local import encryption, sealing, sshsig
from blockhost.engine_local.cli import program
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _

_CHAIN_VERBS = ("generate-keypair", "derive-pubkey", "key-to-address")


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in _CHAIN_VERBS and not {"-h", "--help"} & set(words):
        return _no_chain(words[0])
    return program.run(_parser(), words)


def _parser() -> argparse.ArgumentParser:
    made = program.parser(
        "bhcrypt",
        _("Encrypt and decrypt with a key that an SSH signature yields (AES-256-GCM, HKDF-SHA256)."),
        epilog=_("A word on the command line is seen by everyone on this machine: prefer the -file options."),
    )
    verbs = made.add_subparsers(title=_("commands"), metavar="COMMAND")
    _add_verb(verbs, "encrypt-symmetric", "plaintext", _("encrypt a text"), _encrypt)
    _add_verb(verbs, "decrypt-symmetric", "ciphertext", _("decrypt it again"), _decrypt)
    _add_open(verbs)
    for verb in _CHAIN_VERBS:
        verbs.add_parser(verb, help=_("keys of a chain; this engine has none"))
    return made


def _add_verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    what: str,
    purpose: str,
    action: program.Action,
) -> None:
    made = verbs.add_parser(
        name, help=purpose, description=_("What is not given is read from standard input.")
    )
    for option in ("signature", what):
        group = made.add_mutually_exclusive_group()
        group.add_argument(f"--{option}", metavar="TEXT", help=_("seen by everyone on this machine"))
        group.add_argument(f"--{option}-file", metavar="FILE", help=_("`-` is standard input"))
    made.set_defaults(action=action, what=what)


def _add_open(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    made = verbs.add_parser(
        "decrypt",
        help=_("open what was sealed for an SSH key"),
        description=_("A text that is not given is read from standard input."),
    )
    made.add_argument(
        "--private-key-file",
        required=True,
        metavar="FILE",
        help=_("an OpenSSH private key without passphrase"),
    )
    group = made.add_mutually_exclusive_group()
    group.add_argument("--ciphertext", metavar="TEXT", help=_("hex after 0x, or an armoured age file"))
    group.add_argument("--ciphertext-file", metavar="FILE", help=_("`-` is standard input"))
    made.set_defaults(action=_open)


def _open(words: argparse.Namespace) -> int:
    """The contract's ECIES, as this engine has it: age for an SSH key."""
    if words.private_key_file == "-" and words.ciphertext is None and words.ciphertext_file in {None, "-"}:
        raise BlockhostError(_("standard input can hold only one of private key and ciphertext"))
    key = program.read_input(words.private_key_file)
    text = words.ciphertext
    if text is None:
        text = program.read_input(words.ciphertext_file or "-")
    # What a shell and an editor may take away, a key needs: its last line end.
    data = sealing.open_sealed(f"{key}\n".encode(), _sealed(text.strip()))
    print(_as_text(data), end="")
    return 0


def _sealed(text: str) -> bytes:
    if text.startswith("-----BEGIN"):
        return sealing.from_armour(text)
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise sealing.CannotOpen(_("The ciphertext is neither hexadecimal nor an age file.")) from None


def _as_text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise BlockhostError(_("what was encrypted there is not text")) from None


def _encrypt(words: argparse.Namespace) -> int:
    signature, text = _inputs(words)
    print(encryption.encrypt(signature, text.encode()))
    return 0


def _decrypt(words: argparse.Namespace) -> int:
    signature, text = _inputs(words)
    print(_as_text(encryption.decrypt(signature, text)))
    return 0


def _inputs(words: argparse.Namespace) -> tuple[str, str]:
    """Signature and text: from the line, from files, and at most one of them from standard input."""
    given = {
        option: (getattr(words, option), getattr(words, f"{option}_file"))
        for option in ("signature", words.what)
    }
    from_stdin = [option for option, (text, file) in given.items() if text is None and file in {None, "-"}]
    if len(from_stdin) > 1:
        raise BlockhostError(
            _("standard input can hold only one of signature and %(what)s") % {"what": words.what},
            hint=_("Give the other one by --signature-file FILE."),
        )
    signature, text = (
        word if word is not None else program.read_input(file or "-") for word, file in given.values()
    )
    sshsig.parse(signature)  # complain about the signature before the text
    return signature, text


def _no_chain(verb: str) -> int:
    return command_line.complain(
        f"bhcrypt {verb}",
        _("this host runs without a chain: the local engine has no such keys"),
        _("Identities here are SSH keys: `ssh-keygen -t ed25519`, `ssh-keygen -lf FILE`."),
    )
