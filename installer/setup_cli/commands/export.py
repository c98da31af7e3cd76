"""`blockhost-setup export`: the answers of a setup as an answers file, to keep or to use again.

On the host it reads the run's own record, as root. From elsewhere it asks the wizard for the
encrypted copy and opens it with the admin's signature.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from blockhost.config_files import ADMIN_SIGNATURE as SIGNATURE_FILE
from blockhost.config_files import read_config
from blockhost.errors import BlockhostError
from blockhost.fields import load_json_document
from blockhost.i18n import gettext as _
from blockhost.plugin_api import export as exported
from blockhost.secret import Secret
from installer.answers import Answers, OwnerKey, check_answers, resolve_secrets
from installer.answers.export import to_document
from installer.answers.secrets import ADMIN_SIGNATURE
from installer.answers.wallet import WalletAnswer
from installer.discovery import Plugins
from installer.setup_cli import signing
from installer.setup_cli.commands._target import add_target, remote
from installer.setup_cli.commands.sign import BlockDumper
from installer.setup_cli.output import Terminal
from installer.setup_cli.plugins import find_plugins
from installer.vault import Vault


def add_to(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "export",
        parents=[common],
        help=_("write the answers of a setup as an answers file"),
        description=_(
            "Print the answers of a setup as an answers file. Without --secrets each secret is "
            "replaced by {file: NAME}."
        ),
    )
    add_target(parser)
    parser.add_argument("--secrets", action="store_true", help=_("secrets too, in the clear"))
    parser.add_argument(
        "--answers", type=Path, metavar="FILE",
        help=_("with --url: the answers file whose wallet opens the machine's encrypted copy"),
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """The document is the result, YAML unless JSON was asked for."""
    plugins = find_plugins(options.answers)
    session = _from_elsewhere(options, plugins) if options.url else _from_here(with_secrets=options.secrets)
    document = to_document(answers_of(session, plugins), with_secrets=options.secrets)
    terminal.result(document, yaml.dump(document, Dumper=BlockDumper, sort_keys=False, allow_unicode=True))
    return 0


def answers_of(session: Mapping[str, Any], plugins: Plugins) -> Answers:
    """A session as typed answers.

    Raises:
        BlockhostError: the plugins that the session was made with are not here.
    """
    engine, provisioner = plugins.engine_manifest, plugins.provisioner_manifest
    if engine is None or provisioner is None:
        raise BlockhostError(
            _("an export needs both plugins: %s") % "; ".join(problem.message for problem in plugins.problems)
        )
    return Answers.from_session(
        session,
        engine,
        provisioner,
        engine_module=plugins.engine.module if plugins.engine else None,
        provisioner_module=plugins.provisioner.module if plugins.provisioner else None,
    )


def _from_here(*, with_secrets: bool) -> dict[str, Any]:
    from installer.finalize import run as runs  # noqa: PLC0415  a client needs none of it

    header = runs.load_header()
    if header is None:
        raise BlockhostError(
            _("no setup was started on this machine"),
            hint=_("For another machine give --url, --fingerprint and --answers"),
        )
    session = dict(header.answers)
    return dict(resolve_secrets(session, _kept)) if with_secrets else session


def _kept(name: str) -> Secret:
    """A secret from the vault; the signature, after the end of the setup, from where it lives on."""
    vault = Vault()
    if name not in vault.names() and name == ADMIN_SIGNATURE and SIGNATURE_FILE.path.exists():
        return Secret(str(read_config(SIGNATURE_FILE)))
    return vault.get(name)


def _from_elsewhere(options: argparse.Namespace, plugins: Plugins) -> dict[str, Any]:
    decrypt = exported(plugins.engine.module, "decrypt_config") if plugins.engine else None
    if decrypt is None:
        raise BlockhostError(_("no engine here can open the encrypted copy"))
    if options.answers is None:
        raise BlockhostError(
            _("--url needs --answers FILE"), hint=_("The copy is encrypted under the wallet's signature")
        )
    signature = _signature(options.answers, plugins)
    opened = decrypt(signature.reveal(), remote(options).backup())
    document = load_json_document(opened, source="backup") if isinstance(opened, str | bytes) else opened
    if not isinstance(document, Mapping):
        raise BlockhostError(_("the encrypted copy holds no answers"))
    return dict(document)


def _signature(path: Path, plugins: Plugins) -> Secret:
    checked = check_answers(path, plugins)
    if checked.answers is None:
        raise BlockhostError("\n".join(str(problem) for problem in checked.problems))
    wallet = checked.answers.wallet
    if isinstance(wallet, OwnerKey):
        return signing.sign(wallet.path, wallet.public_secret)[1]
    assert isinstance(wallet, WalletAnswer)
    return wallet.signature
