"""Talking to the guest agent inside a machine. Called by root only, like all of libvirt.

What a guest answers is the tenant's word: it is bounded, parsed with care, and never trusted.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from blockhost.command import Completed, probe
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt.virsh import uri

#: A guest that is there answers in milliseconds; an emulated one under load in a second.
ANSWER_S = 5
#: How much of a program's output is handed on, each of stdout and stderr: an answer of the agent
#: has 64 KiB.
MOST_OUTPUT = 20 * 1024
_RETURN = '{"return":'
_REFUSED = "unable to execute QEMU agent command"
_GONE = ("domain is not running", "Domain not found", "failed to get domain")


class GuestSilent(BlockhostError):
    """No answer: the agent in the guest does not run (yet), or hangs."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program in the guest ended; `code` is None while it runs."""

    code: int | None
    stdout: bytes = b""
    stderr: bytes = b""
    is_cut: bool = False


def ask(name: str, *requests: Mapping[str, Any], timeout_s: int = ANSWER_S) -> list[Any]:
    """The guest agent's answers, in order.

    Raises:
        GuestSilent: it does not answer.
        BlockhostError: it refused, or the machine is not there; says why.
    """
    script = "".join(_line(name, request, timeout_s) for request in requests)
    done = _virsh(script, len(requests) * (timeout_s + 5) + 10)
    answers = [line for line in done.stdout.splitlines() if line.startswith(_RETURN)]
    if len(answers) != len(requests):
        raise _failure(name, done.stderr)
    try:
        return [_parsed(line) for line in answers]
    except ValueError as error:
        raise BlockhostError(_("%(name)s: the guest agent's answer is not JSON") % {"name": name}) from error


def ask_many(requests: Mapping[str, Sequence[Mapping[str, Any]]], *, timeout_s: int) -> dict[str, list[Any]]:
    """Ask several guests, one after the other, with one program: what each answered, in order.

    A guest that does not answer, or not all, has fewer answers. Cheap where many are asked.
    """
    lines = []
    for name, asked in requests.items():
        lines.append(f"echo '@@{name}@@'\n")  # names are of a-z 0-9 -
        lines += [_line(name, request, timeout_s) for request in asked]
    count = sum(len(asked) for asked in requests.values())
    done = _virsh("".join(lines), count * (timeout_s + 1) + 10)
    found: dict[str, list[Any]] = {name: [] for name in requests}
    name = ""
    for line in done.stdout.splitlines():
        if line.startswith(_RETURN):
            with contextlib.suppress(ValueError):
                found[name].append(_parsed(line))
        elif mark := re.search(r"@@([a-z0-9-]+)@@", line):
            name = mark[1]
    return found


def _line(name: str, request: Mapping[str, Any], timeout_s: int) -> str:
    return f"qemu-agent-command --domain {name} --timeout {timeout_s} --cmd {_quoted(request)}\n"


def _virsh(script: str, timeout: float) -> Completed:
    # By stdin: a command may hold what must not stand in the list of processes.
    return probe(["virsh", "-q", "-c", uri()], stdin=script, timeout=timeout)


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)["return"]
    except RecursionError as error:
        raise ValueError("too deep") from error


def is_answering(name: str) -> bool:
    """Whether the guest agent answers now."""
    try:
        ask(name, {"execute": "guest-ping"})
    except GuestSilent:
        return False
    return True


def start_program(name: str, argv: Sequence[str]) -> int:
    """Start a program in the guest, found on its PATH; the process id there."""
    (answer,) = ask(name, program(argv))
    return _whole_number(answer, "pid")


def program(argv: Sequence[str]) -> dict[str, Any]:
    """The request that starts a program whose output is kept."""
    path, *words = argv
    return {"execute": "guest-exec", "arguments": {"path": path, "arg": words, "capture-output": True}}


def look_at_program(name: str, pid: int) -> Ended:
    """Whether it ended, and how. The guest forgets what ended once it was asked."""
    (answer,) = ask(name, status_of(pid))
    return ended(answer)


def status_of(pid: int) -> dict[str, Any]:
    """The request that asks after a program."""
    return {"execute": "guest-exec-status", "arguments": {"pid": pid}}


def ended(answer: object) -> Ended:
    """The answer to `status_of`."""
    if not isinstance(answer, dict) or not answer.get("exited"):
        return Ended(None)
    out, err = _output(answer, "out-data"), _output(answer, "err-data")
    signal = answer.get("signal")
    code = 128 + int(signal) if isinstance(signal, int) else _whole_number(answer, "exitcode")
    is_cut = len(out) > MOST_OUTPUT or len(err) > MOST_OUTPUT or bool(answer.get("out-truncated"))
    return Ended(code, out[:MOST_OUTPUT], err[:MOST_OUTPUT], is_cut)


def _output(answer: Mapping[str, Any], key: str) -> bytes:
    try:
        return base64.b64decode(str(answer.get(key, "")))
    except (binascii.Error, ValueError):
        return b""


def _whole_number(answer: object, key: str) -> int:
    value = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(value, int):
        raise BlockhostError(_("the guest agent's answer has no %(key)s") % {"key": key})
    return value


def _quoted(request: Mapping[str, Any]) -> str:
    # virsh takes everything between two single quotes as it is.
    return "'" + json.dumps(request).replace("'", "\\u0027") + "'"


def _failure(name: str, stderr: str) -> BlockhostError:
    if any(reason in stderr for reason in _GONE):
        return BlockhostError(_("%(name)s is not running") % {"name": name})
    if _REFUSED in stderr:
        reason = re.sub(r"\s+", " ", stderr.partition(_REFUSED)[2]).strip(" :")
        return BlockhostError(
            _("%(name)s: the guest agent refused %(reason)s") % {"name": name, "reason": reason[:300]}
        )
    return GuestSilent(
        _("%(name)s: the guest agent does not answer") % {"name": name},
        hint=_("Is the machine still booting?"),
    )
