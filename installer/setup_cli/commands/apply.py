"""`blockhost-setup apply FILE --url … --fingerprint …`: a whole setup through the wizard's pages.

It posts what a browser posts, in the same order, and nothing else. Run again after an
interruption, it looks how far the setup is and goes on from there.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from installer.answers import Answers, AnswersFileError, OwnerKey, check_answers
from installer.setup_cli import signing, watch
from installer.setup_cli.commands._target import add_target, remote
from installer.setup_cli.commands.sign import make_missing_key
from installer.setup_cli.output import Terminal
from installer.setup_cli.plugins import find_plugins
from installer.setup_cli.remote import RemoteSetup
from installer.setup_cli.signing import sign

STILL_GOING, INTERRUPTED = 3, 130


def add_to(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "apply",
        parents=[common],
        help=_("take a machine through its setup"),
        description=_(
            "Answer the wizard of a machine from a file, confirm the plan, and follow the run to its end. "
            "Interrupt it and the run goes on; the same command looks again."
        ),
    )
    parser.add_argument("file", type=Path, metavar="FILE", help=_("answers file"))
    add_target(parser, required=True)
    parser.add_argument(
        "--generate-key", action="store_true", help=_("make the wallet's key if there is none")
    )
    parser.add_argument("--no-wait", action="store_true", help=_("start the run and leave"))
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help=_("stop waiting after this time (exit code 3)")
    )
    parser.add_argument("--logs", action="store_true", help=_("print the steps' log lines, too"))
    parser.add_argument(
        "--finish",
        choices=("complete", "reboot", "no"),
        default="complete",
        help=_("at the end: close the wizard, reboot the machine, or neither (default: %(default)s)"),
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """0: complete (or started, with --no-wait); 1: refused or failed; 3: the timeout came first."""
    answers = _answers(options, terminal)
    setup = remote(options)
    status = setup.status()
    if status.get("status") in (None, "pending"):
        _answer_all(setup, answers, terminal)
        options.url = setup.browser.origin
    else:
        terminal.note(_("This machine's setup was started before (%s).") % status.get("status"))
    if options.no_wait:
        terminal.result(setup.status(), _("started; look again with: %s") % _again(options))
        return 0
    try:
        final = watch.follow(setup, terminal, timeout_s=options.timeout, logs=options.logs)
    except KeyboardInterrupt:
        terminal.tell(_("The setup goes on without us. Look again with: %s") % _again(options))
        return INTERRUPTED
    except watch.TimeIsUp as error:
        terminal.error(error)
        return STILL_GOING
    return _ended(setup, final, options, terminal)


def _answers(options: argparse.Namespace, terminal: Terminal) -> Answers:
    """The file's answers, signed; a file with faults is refused before the machine is asked anything."""
    checked = check_answers(options.file, find_plugins(options.file))
    terminal.problems(checked.warnings, warning=True)
    if checked.answers is None:
        raise AnswersFileError(checked.problems)

    def use(key: OwnerKey) -> Any:
        make_missing_key(key.path, terminal, allowed=options.generate_key)
        signing.wallet_of(key.path)
        return sign(key.path, key.public_secret)

    return checked.answers.signed(use)


def _answer_all(setup: RemoteSetup, answers: Answers, terminal: Terminal) -> None:
    pages = answers.pages()
    for number, (section, route, form) in enumerate(pages):
        terminal.bar(100 * number // len(pages), section)
        setup.answer(section, route, form)
        terminal.good(f"✓ {section}")
        if section == "network" and (moved := setup.follow_address()):
            terminal.good(_("✓ the machine answers at its new address, %s") % moved)
    terminal.bar(100, _("asking every step for its plan"))
    setup.confirm(setup.summary())
    terminal.end_bar()
    terminal.good(_("✓ plan confirmed, the run has started"))
    if setup.status().get("status") == "pending":  # confirming starts it, or the worker said why not
        raise BlockhostError(_("the plan was confirmed, but no run has started"))


def _ended(setup: RemoteSetup, final: dict[str, Any], options: argparse.Namespace, terminal: Terminal) -> int:
    if final.get("status") != "completed":
        terminal.result(final, watch.as_text(final))
        terminal.tell(
            _("The setup is not complete. Mend the cause, then: blockhost-setup retry %s") % _target(options)
        )
        return 1
    if options.finish != "no":
        setup.finish(reboot=options.finish == "reboot")
    terminal.result(final, _("setup complete"))
    return 0


def _target(options: argparse.Namespace) -> str:
    return f"--url {options.url} --fingerprint {options.fingerprint}"


def _again(options: argparse.Namespace) -> str:
    return f"blockhost-setup status {_target(options)}"
