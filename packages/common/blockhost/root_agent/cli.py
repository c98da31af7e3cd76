"""`blockhost-agent`: call the root agent by hand, and check its log."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blockhost import command_line
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.i18n import ngettext
from blockhost.root_agent import call
from blockhost.root_agent.action import Action
from blockhost.root_agent.audit import log_path, verify
from blockhost.root_agent.loader import load_actions

PROGRAM = "blockhost-agent"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0: done; 1: refused, failed, or the log is damaged; 2: usage."""
    options = _parser().parse_args(argv)
    return command_line.ended(PROGRAM, lambda: int(options.run(options)))


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser(PROGRAM, _("Call the root agent by hand, and check its log."))
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    one = verbs.add_parser(
        "call",
        help=_("run one action"),
        epilog=_("`blockhost-agent list` says what there is."),
    )
    one.add_argument("action", help=_("its name, such as iptables-open"))
    one.add_argument("params", nargs="*", metavar="key=value", help=_("a value is JSON, or else a string"))
    one.add_argument(
        "--timeout", type=float, default=300.0, metavar="SECONDS", help=_("give up waiting after (300)")
    )
    command_line.add_format(one, default="json", other="text")
    one.set_defaults(run=_call)
    every = verbs.add_parser("list", help=_("the actions with their parameters"))
    command_line.add_format(every)
    every.set_defaults(run=_list)
    log = verbs.add_parser("log", help=_("the agent's hash-chained log")).add_subparsers(
        required=True, metavar="COMMAND"
    )
    check = log.add_parser("verify", help=_("follow the chain"))
    check.add_argument(
        "--head", default="", metavar="HASH", help=_("a head noted earlier: finds a cut-off end")
    )
    check.add_argument("--file", type=Path, metavar="PATH", help=_("another log than the agent's"))
    check.set_defaults(run=_verify)
    return parser


def _call(options: argparse.Namespace) -> int:
    params: dict[str, Any] = {}
    for text in options.params:
        key, value = _pair(text)
        if key in params or key in {"action", "timeout"}:
            raise BlockhostError(_("%(key)s: given twice, or not a parameter") % {"key": key})
        params[key] = value
    answer = call(options.action, timeout=options.timeout, **params)
    if options.format == "json":
        print(json.dumps(answer, indent=2))
    for key, value in answer.items() if options.format == "text" else ():
        print(f"{key}: {value if isinstance(value, str) else json.dumps(value)}")
    return 0


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise BlockhostError(_("%(text)r: expected key=value") % {"text": text})
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _list(options: argparse.Namespace) -> int:
    loaded = load_actions()
    described = [_described(name, action) for name, action in sorted(loaded.actions.items())]
    if options.format == "json":
        print(json.dumps(described, indent=2))
    for one in described if options.format == "text" else ():
        words = [each["name"] if each["required"] else f"[{each['name']}]" for each in one["parameters"]]
        print(" ".join([one["action"], *(["…"] if one["checks_itself"] else words)]))
        for each in one["parameters"]:
            print(f"    {each['name']}: {each['expected']}")
    for problem in loaded.problems:
        print(f"blockhost-agent: {problem}", file=sys.stderr)
    return 1 if loaded.problems else 0


def _described(name: str, action: Action) -> dict[str, Any]:
    return {
        "action": name,
        "does": (action.handler.__doc__ or "").strip().partition("\n")[0],
        "callers": list(action.callers),
        "checks_itself": action.is_plain,
        "parameters": [
            {"name": each.name, "required": each.is_required, "expected": each.expected}
            for each in action.parameters
        ],
    }


def _verify(options: argparse.Namespace) -> int:
    path = options.file or log_path()
    if not path.exists():
        raise BlockhostError(
            _("%(path)s: there is no log yet") % {"path": path},
            hint=_("Is the agent running? systemctl status blockhost-root-agent"),
        )
    verdict = verify(path, head=options.head)
    if verdict.problem:
        print(
            ngettext(
                "%(path)s: %(problem)s (%(count)d entry before it is sound)",
                "%(path)s: %(problem)s (%(count)d entries before it are sound)",
                verdict.count,
            )
            % {"path": path, "problem": verdict.problem, "count": verdict.count},
            file=sys.stderr,
        )
        return 1
    print(
        ngettext(
            "%(count)d entry, head %(number)d %(hash)s",
            "%(count)d entries, head %(number)d %(hash)s",
            verdict.count,
        )
        % {"count": verdict.count, "number": verdict.head.sequence, "hash": verdict.head.hash}
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
