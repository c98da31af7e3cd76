"""`blockhost-setup sign --key PATH`: the wallet section for an SSH key, signed by ssh-keygen."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

from blockhost.i18n import gettext as _
from installer.setup_cli import signing
from installer.setup_cli.output import Terminal

DEFAULT_TEXT = "blockhost-access"


def add_to(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "sign",
        parents=[common],
        help=_("sign as the owner of an SSH key"),
        description=_(
            "Print the wallet section of an answers file: fingerprint, signature, signed text. "
            "The key itself stays where it is."
        ),
    )
    parser.add_argument("--key", type=Path, required=True, metavar="PATH", help=_("SSH private key"))
    parser.add_argument("--text", default=DEFAULT_TEXT, help=_("what to sign (default: %(default)s)"))
    parser.add_argument("--generate-key", action="store_true", help=_("make the key if there is none"))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """The signature is the result; text is YAML that fits into an answers file."""
    make_missing_key(options.key, terminal, allowed=options.generate_key)
    address, signature = signing.sign(options.key, options.text)
    section = {
        "admin_wallet": address,
        "admin_signature": signature.reveal(),
        "public_secret": options.text,
    }
    terminal.result({"wallet": section}, yaml.dump({"wallet": section}, Dumper=BlockDumper, sort_keys=False))
    return 0


def make_missing_key(key: Path, terminal: Terminal, *, allowed: bool) -> None:
    """Make the key where that was asked for and there is none, and say so."""
    if allowed and not key.exists():
        signing.generate(key)
        terminal.note(_("Made a new owner key: %s. Who has it administers the host; keep it.") % key)


class BlockDumper(yaml.SafeDumper):
    """YAML whose texts of several lines are blocks, as a person writes them."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


BlockDumper.add_representer(str, _text)
