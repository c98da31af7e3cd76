"""Talks to the setup worker: one framed request and answer, or an endless stream of events."""

from __future__ import annotations

import select
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from blockhost import paths
from blockhost.errors import FrameError, WorkerError
from blockhost.framing import call, connect, receive_frame, send_frame
from blockhost.i18n import gettext as _

MAX_FRAME = 1024 * 1024
QUICK_S = 20.0
#: Setup actions and validation run programs; the worker has deadlines of its own below this.
SLOW_S = 1900.0

Event = dict[str, Any]


class WorkerClient:
    """The worker's commands as methods. Every refusal is a WorkerError with the worker's code."""

    def __init__(self, socket: Path | None = None) -> None:
        self._socket = socket or paths.setup_run_dir() / "worker.sock"

    def login(self, otp: str, source: str) -> dict[str, Any]:
        """Evaluate a guess: `outcome`, and `wait_s` before this source may guess again."""
        return self._ask("login", otp=otp, source=source)

    def keep(self, name: str, value: str) -> None:
        """Hand a secret over; it never comes back."""
        self._ask("keep", name=name, value=value)

    def kept(self) -> tuple[str, ...]:
        """Names of the secrets that the worker keeps."""
        return tuple(self._ask("kept").get("names", ()))

    def plan(self, answers: Mapping[str, Any]) -> dict[str, Any]:
        """What each step would change, and the hash of all of it."""
        return self._ask("plan", timeout=120.0, answers=dict(answers))

    def start(self, answers: Mapping[str, Any], plan: str | None = None) -> dict[str, Any]:
        """Start a run; code `running` or `plan-changed` where that is refused."""
        chosen = {} if plan is None else {"plan": plan}
        return self._ask("start", timeout=120.0, answers=dict(answers), **chosen)

    def status(self) -> dict[str, Any]:
        return self._ask("status")

    def retry(self, step_id: str | None = None) -> dict[str, Any]:
        return self._ask("retry", step_id=step_id or "")

    def reset(self, *, force: bool = False) -> dict[str, Any]:
        return self._ask("reset", force=force)

    def action(self, name: str, params: Mapping[str, Any], answers: Mapping[str, Any]) -> dict[str, Any]:
        """Run a setup action in a child of the worker; only its result comes back."""
        answer = self._ask("action", timeout=SLOW_S, name=name, params=dict(params), answers=dict(answers))
        result = answer.get("result")
        return result if isinstance(result, dict) else {}

    def validate(self) -> dict[str, Any]:
        return self._ask("validate", timeout=SLOW_S)

    def backup(self, answers: Mapping[str, Any]) -> str:
        """The answers, encrypted under the admin's signature."""
        return str(self._ask("backup", timeout=60.0, answers=dict(answers)).get("ciphertext", ""))

    def restore(self, signature: str, ciphertext: str) -> dict[str, Any]:
        answer = self._ask("restore", timeout=60.0, signature=signature, ciphertext=ciphertext).get("answers")
        return answer if isinstance(answer, dict) else {}

    def export(self, *, secrets: bool = False) -> dict[str, Any]:
        return self._ask("export", secrets=secrets)

    def host(self) -> dict[str, Any]:
        """Facts about the machine that an unprivileged process may not read."""
        return self._ask("host")

    def complete(self) -> dict[str, Any]:
        return self._ask("complete", timeout=120.0)

    def reboot(self) -> dict[str, Any]:
        return self._ask("reboot")

    def events(self, after: int = 0, *, idle_s: float = 10.0) -> Iterator[Event | None]:
        """Events since `after`, then new ones as they happen; None after each `idle_s` of silence.

        Ends when the worker ends the stream. Closing the generator closes the connection.

        Raises:
            WorkerError: the worker cannot be reached, or broke the framing.
        """
        try:
            with connect(self._socket, timeout=QUICK_S) as connection:
                send_frame(connection, {"command": "events", "after": after}, max_bytes=MAX_FRAME)
                while True:
                    # Waiting is apart from reading: a timeout inside a frame would lose its start.
                    if not select.select([connection], [], [], idle_s)[0]:
                        yield None
                        continue
                    frame = receive_frame(connection, max_bytes=MAX_FRAME, deadline_s=30.0)
                    if frame is None:
                        return
                    if isinstance(frame, dict) and frame.get("ok") is False:
                        raise _refusal(frame)
                    if isinstance(frame, dict) and "id" in frame:
                        yield frame
        except (OSError, FrameError) as error:
            raise _unreachable(error) from error

    def _ask(self, command: str, *, timeout: float = QUICK_S, **arguments: Any) -> dict[str, Any]:
        try:
            answer = call(
                self._socket, {"command": command, **arguments}, timeout=timeout, max_bytes=MAX_FRAME
            )
        except (OSError, FrameError) as error:
            raise _unreachable(error) from error
        if answer.get("ok") is not True:
            raise _refusal(answer)
        return {key: value for key, value in answer.items() if key != "ok"}


def _refusal(answer: Mapping[str, Any]) -> WorkerError:
    rest = {key: value for key, value in answer.items() if key not in ("ok", "error", "hint", "code")}
    return WorkerError(
        str(answer.get("error") or _("the setup worker refused without a reason")),
        code=str(answer.get("code") or ""),
        hint=str(answer.get("hint") or ""),
        data=rest,
    )


def _unreachable(error: Exception) -> WorkerError:
    reason = getattr(error, "strerror", None) or str(error)
    return WorkerError(
        _("The setup worker does not answer (%(reason)s).") % {"reason": reason},
        code="unreachable",
        hint=_("It restarts by itself; try again in some seconds. Its log: journalctl -u blockhost-worker"),
    )
