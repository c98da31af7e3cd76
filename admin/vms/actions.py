"""What the operator does with a machine: one thing at a time for each, through the provisioner."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.provisioner import failure, get_provisioner

VERBS = ("start", "stop", "kill", "destroy")
#: A request is answered within this time, below nginx's patience; the work goes on after it.
ANSWER_S = 40.0
TIMEOUT_S = 600.0


class Busy(BlockhostError):
    """Something is being done with this machine already."""


class ActionFailed(BlockhostError):
    """The provisioner's command failed; the text is what it said."""


def told(error: BlockhostError) -> str:
    """An error with what to try, in one line."""
    return f"{error} – {error.hint}" if error.hint else str(error)


@dataclass(slots=True)
class Actions:
    """Work in progress, and what failed after its request was answered."""

    when_done: Callable[[], None]
    answer_s: float = ANSWER_S
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _running: dict[str, str] = field(default_factory=dict)
    _failed: dict[str, str] = field(default_factory=dict)

    def run(self, verb: str, name: str) -> bool:
        """True once it is done; False while it still goes on after `answer_s` seconds.

        Raises:
            Busy: another action on this machine has not ended.
            ActionFailed: it failed within that time.
        """
        with self._lock:
            if name in self._running:
                raise Busy(
                    _("%(name)s is busy: %(verb)s has not ended yet")
                    % {"name": name, "verb": self._running[name]}
                )
            self._running[name] = verb
            self._failed.pop(name, None)
        outcome = _Outcome()
        threading.Thread(target=self._work, args=(verb, name, outcome), daemon=True).start()
        if not outcome.ended.wait(self.answer_s):
            return False
        if outcome.problem:
            with self._lock:
                self._failed.pop(name, None)  # it is told now
            raise ActionFailed(outcome.problem)
        return True

    def running(self) -> dict[str, str]:
        """What is being done, by machine."""
        with self._lock:
            return dict(self._running)

    def failed(self) -> dict[str, str]:
        """What failed since, by machine, until the next action on it."""
        with self._lock:
            return dict(self._failed)

    def _work(self, verb: str, name: str, outcome: _Outcome) -> None:
        try:
            done = get_provisioner().run(verb, [name], timeout=TIMEOUT_S)
            if done.code != 0:
                raise failure(verb, done)
        except BlockhostError as error:
            outcome.problem = told(error)
        finally:
            with self._lock:
                del self._running[name]
                if outcome.problem:
                    self._failed[name] = outcome.problem
            self.when_done()
            outcome.ended.set()


@dataclass(slots=True)
class _Outcome:
    ended: threading.Event = field(default_factory=threading.Event)
    problem: str = ""
