"""`bhcrypt`: encrypt and decrypt under an SSH signature. Keys of a chain are not its business here."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from blockhost import command_line
from blockhost.engine_local import encryption, sshsig
from blockhost.engine_local.cli import program
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _

_CHAIN_VERBS = ("generate-keypair", "derive-pubkey", "key-to-address", "decrypt")


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
    _add_verb(verbs, "encrypt-symmetric", "plaintext", _encrypt)
    _add_verb(verbs, "decrypt-symmetric", "ciphertext", _decrypt)
    for verb in _CHAIN_VERBS:
        verbs.add_parser(verb, help=_("keys of a chain; this engine has none"))
    return made


def _add_verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, what: str, action: program.Action
) -> None:
    made = verbs.add_parser(name, description=_("What is not given is read from standard input."))
    for option in ("signature", what):
        group = made.add_mutually_exclusive_group()
        group.add_argument(f"--{option}", metavar="TEXT")
        group.add_argument(f"--{option}-file", metavar="FILE", help=_("`-` is standard input"))
    made.set_defaults(action=action, what=what)


def _encrypt(words: argparse.Namespace) -> int:
    signature, text = _inputs(words)
    print(encryption.encrypt(signature, text.encode()))
    return 0


def _decrypt(words: argparse.Namespace) -> int:
    signature, text = _inputs(words)
    data = encryption.decrypt(signature, text)
    try:
        print(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise BlockhostError(_("what was encrypted there is not text")) from None
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
