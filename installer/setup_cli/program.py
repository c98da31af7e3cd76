"""Arguments, dispatch, and what every command's end looks like.

Exit codes: 0 it worked · 1 refused or failed · 2 wrong usage · 3 still going (a --timeout passed)
· 130 interrupted from the keyboard.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from blockhost import command_line
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from installer.answers import AnswersFileError
from installer.setup_cli import commands
from installer.setup_cli.output import Terminal

OK, FAILED, USAGE, STILL_GOING, INTERRUPTED = 0, 1, 2, 3, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; expected errors go to stderr, never a traceback."""
    command_line.undo_on_interrupt()
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.DEBUG if options.debug else logging.WARNING, format="%(message)s")
    terminal = Terminal(format=options.format, quiet=options.quiet)
    try:
        code: int = options.run(options, terminal)
        sys.stdout.flush()
        return code
    except AnswersFileError as error:
        terminal.problems(error.problems)
    except BlockhostError as error:
        terminal.error(error)
    except KeyboardInterrupt:
        terminal.tell(_("Interrupted."))
        return INTERRUPTED
    except BrokenPipeError:
        pass  # whoever read our output has seen enough (`| head`)
    except OSError as error:
        terminal.end_bar()
        command_line.complain_of("blockhost-setup", error)
    finally:
        command_line.let_go_of_stdout()
    return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(
        "blockhost-setup",
        _("Set up a BlockHost appliance from an answers file, or look at a setup."),
        epilog=_("Exit codes: 0 success, 1 refused or failed, 2 usage, 3 still going, 130 interrupted."),
        package="blockhost-installer",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--format", choices=("text", "json", "yaml"), default="text", help=_("of the result"))
    common.add_argument("-q", "--quiet", action="store_true", help=_("say only the result and errors"))
    common.add_argument("--debug", action="store_true", help=_("log what is done, for bug reports"))
    subparsers = parser.add_subparsers(metavar=_("COMMAND"), required=True)
    for module in commands.ALL:
        module.add_to(subparsers, common)
    return parser
