"""The options that say whose setup is meant: this machine's, or another's over HTTPS."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from installer.setup_cli.local import Setup, worker
from installer.setup_cli.remote import NotLoggedIn, RemoteSetup


def add_target(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Add --url, --fingerprint and the ways to give a code."""
    group = parser.add_argument_group(_("another machine"))
    group.add_argument(
        "--url", required=required, metavar="https://HOST[:PORT]", help=_("address on its console")
    )
    group.add_argument(
        "--fingerprint",
        metavar="AA:BB:…",
        help=_("SHA-256 of its certificate, on its console; nothing is sent to another"),
    )
    code = group.add_mutually_exclusive_group()
    code.add_argument(
        "--otp",
        metavar="CODE",
        help=_("one-time code on its console; `-` reads it from stdin, which no other user sees"),
    )
    code.add_argument(
        "--otp-file", type=Path, metavar="FILE", help=_("file that holds the code; `-` is stdin")
    )


def remote(options: argparse.Namespace) -> RemoteSetup:
    """The machine that --url names, logged in.

    Raises:
        NotLoggedIn: no session holds and no code was given.
    """
    if not options.fingerprint:
        raise BlockhostError(
            _("--url needs --fingerprint"), hint=_("The console of that machine shows it below the address")
        )
    setup = RemoteSetup(options.url, options.fingerprint)
    setup.health()
    if not setup.is_logged_in():
        setup.login(_code(options))
    return setup


def chosen(options: argparse.Namespace) -> Setup:
    """The setup that the options name: another machine's, or this one's."""
    return remote(options) if options.url else worker()


def _code(options: argparse.Namespace) -> str:
    if options.otp_file or options.otp == "-":
        source = options.otp_file
        text = sys.stdin.readline(256) if source is None or str(source) == "-" else source.read_text()[:256]
        return str(text).strip()
    if options.otp:
        return str(options.otp)
    if sys.stdin.isatty():
        return getpass.getpass(_("One-time code on the console: ")).strip()
    raise NotLoggedIn(
        _("no one-time code was given"), hint=_("--otp-file FILE, or --otp - and the code on stdin")
    )
