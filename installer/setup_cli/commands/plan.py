"""`blockhost-setup plan FILE`: what a setup with these answers would change, without changing it.

On a host the worker asks the steps, as it does for the wizard's summary; the hash is the one that
a summary with the same answers shows. Elsewhere the steps are asked in this process: what depends
on the machine (its disks, its addresses) is then that of this machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.secret import Secret
from installer.answers import (
    Answers,
    AnswersFileError,
    OwnerKey,
    check_answers,
    placeholder,
    resolve_secrets,
    split_secrets,
)
from installer.answers.secrets import ADMIN_SIGNATURE
from installer.answers.wallet import WalletAnswer
from installer.discovery import Plugins
from installer.setup_cli import signing
from installer.setup_cli.local import has_worker, worker
from installer.setup_cli.output import Terminal, printable
from installer.setup_cli.plugins import find_plugins


def add_to(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "plan",
        parents=[common],
        help=_("show what a setup would change"),
        description=_("List every change that each step would make with these answers. Nothing is changed."),
    )
    parser.add_argument("file", type=Path, metavar="FILE", help=_("answers file"))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """1 where a step cannot say what it would do."""
    plugins = find_plugins(options.file)
    if plugins.engine is None or plugins.provisioner is None:
        problems = [problem.message for problem in plugins.problems]
        raise BlockhostError(_("a plan needs both plugins: %s") % "; ".join(problems))
    checked = check_answers(options.file, plugins)
    terminal.problems(checked.warnings, warning=True)
    if checked.answers is None:
        raise AnswersFileError(checked.problems)
    session = _session(checked.answers, plugins)
    plan = _from_worker(session) if has_worker() else _in_process(session, plugins)
    terminal.result(plan, as_text(plan))
    return 1 if any(step.get("problem") for step in plan["steps"]) else 0


def _session(answers: Answers, plugins: Plugins) -> dict[str, Any]:
    """The answers as a session without secrets; a key file signs, if it is there."""
    wallet = answers.wallet
    if isinstance(wallet, OwnerKey):
        address = signing.wallet_of(wallet.path) if wallet.path.is_file() else _("(the new key's)")
        parts = [answer.to_session() for name, answer in answers.sections.items() if name != "wallet"]
        session = {
            "admin_wallet": address,
            ADMIN_SIGNATURE: placeholder(ADMIN_SIGNATURE),
            "admin_public_secret": wallet.public_secret,
        }
        for part in parts:
            session |= part
    else:
        assert isinstance(wallet, WalletAnswer)
        session = answers.to_session()
    public, _found = split_secrets(session, plugins.engine_manifest, plugins.provisioner_manifest)
    return public


def _from_worker(session: Mapping[str, Any]) -> dict[str, Any]:
    """The worker would ask its vault for each secret that is referred to; a plan needs none of them."""
    return worker().plan(resolve_secrets(session, lambda _name: Secret("")))


def _in_process(session: Mapping[str, Any], plugins: Plugins) -> dict[str, Any]:
    from installer.setup_cli.offline import plan_of  # noqa: PLC0415  loads every step's code

    return plan_of(session, plugins)


def as_text(plan: Mapping[str, Any]) -> str:
    """A plan for people: a step a paragraph, a change a line."""
    lines = []
    for step in plan["steps"]:
        mark = _("  (cannot be undone)") if step.get("irreversible") else ""
        lines.append(f"{step['id']}: {printable(step['label'])}{mark}")
        for change in step["changes"]:
            detail = f"  {printable(change['detail'])}" if change["detail"] else ""
            lines.append(f"    {change['kind']:<12} {printable(change['target'])}{detail}")
        if step.get("problem"):
            lines.append(f"    {_('cannot tell:')} {printable(step['problem'])}")
    lines.append("")
    lines.append(_("plan %s") % plan["hash"])
    return "\n".join(lines)
