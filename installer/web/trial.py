"""A new address on trial: answered, switched to beside the old one, kept once somebody opened it there.

The worker adds the address and takes it back after a while, whatever becomes of us. Opening this
wizard under the new address is the proof that it works. A browser's cookie is bound to the old
address, so a link with a token, good for one use and as long as the trial, takes the session along.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from flask import abort, current_app, request, session

from blockhost import boot_clock
from blockhost.errors import AnswerError, WorkerError
from blockhost.i18n import gettext as _
from installer.web import facts, wizard
from installer.web.sessions import ServerSessions, SessionStore

if TYPE_CHECKING:
    from installer.answers import NetworkAnswer

KEY = "_trial"
NOTICE = "_trial_missed"


@dataclass(frozen=True, slots=True)
class Trial:
    """What the session keeps of a trial; `until` is a time of the boot clock."""

    address: str
    until: float
    token: str

    @property
    def seconds_left(self) -> int:
        return max(0, int(self.until - boot_clock.seconds()))

    @property
    def link(self) -> str:
        """Where the operator proves that the new address works."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        port = request.host.rpartition(":")[2] if request.host.rpartition(":")[2].isdigit() else ""
        return f"https://{host}{':' + port if port else ''}/wizard/network/confirm?token={self.token}"

    @property
    def is_asked_here(self) -> bool:
        """True when this very request came to the new address."""
        return request.host.lower() in (self.address, f"[{self.address}]") or request.host.lower().startswith(
            (f"{self.address}:", f"[{self.address}]:")
        )


def current(values: Mapping[str, Any] | None = None) -> Trial | None:
    """The trial of this session (or of the given one), as long as it lasts."""
    kept = (session if values is None else values).get(KEY)
    trial = Trial(**kept) if isinstance(kept, dict) else None
    return trial if trial is not None and trial.seconds_left > 0 else None


def settle() -> None:
    """Once the worker has taken a trial back, its answer is no answer any more: the page asks again."""
    if KEY in session and current() is None:
        session[NOTICE] = session.pop(KEY)["address"]
        session.pop("network", None)


def switch(answer: NetworkAnswer) -> None:
    """Have the worker try this answer.

    Raises:
        AnswerError: it does not work, and the network is as it was.
        WorkerError: the worker could not be asked.
    """
    session.pop(NOTICE, None)
    worker = wizard.current().worker
    if answer.method != "static":
        if session.pop(KEY, None) is not None:
            worker.action("network-revert", {}, {})
        return
    had = {str(known).partition("/")[0] for item in facts.interfaces() for known in item.get("addresses", ())}
    try:
        tried = worker.action("network-switch", answer.to_form(), {})
    except WorkerError as error:
        if error.code in ("unreachable", "internal", "running"):
            raise
        raise AnswerError(str(error.data.get("field") or "address"), str(error), hint=error.hint) from error
    session.pop(KEY, None)
    if not tried.get("pending"):
        return
    if answer.address in had:
        # This host answered there before; there is nothing to prove.
        worker.action("network-confirm", {}, {})
        return
    until = boot_clock.seconds() + float(tried.get("seconds_left", 0))
    trial = Trial(answer.address, until, secrets.token_hex(16))
    session[KEY] = asdict(trial)
    trials = wizard.current().trials
    trials.clear()  # the worker tries one address at a time
    trials[trial.token] = session.session_id  # type: ignore[attr-defined]


def confirm() -> None:
    """Keep the address that is on trial in this session: only a request that came to it can.

    Aborts with 409 where there is none, or the request came to another address.
    """
    trial = current()
    if trial is None:
        abort(409, _("No address is being tried."))
    if not trial.is_asked_here:
        abort(
            409, _("Ask this at the new address, %(address)s: that proves it.") % {"address": trial.address}
        )
    keep()


def keep() -> None:
    """Tell the worker that the new address works."""
    kept = wizard.current().worker.action("network-confirm", {}, {}).get("kept")
    session.pop(KEY, None)
    if not kept:
        session.pop("network", None)
        abort(409, _("Too late: the address was taken back. Answer the network page again."))


def by_link(token: str) -> tuple[str, dict[str, Any]] | None:
    """Id and content of the session whose trial has this token, if the request came to its address."""
    session_id = wizard.current().trials.get(token, "")
    values = _store().load(session_id) if session_id else None
    trial = current(values) if values is not None else None
    return (session_id, values) if values is not None and trial is not None and trial.is_asked_here else None


def move_here(token: str) -> bool:
    """Continue the session of this link at this address; its id at the old one ends. Works once."""
    found = by_link(token)
    wizard.current().trials.pop(token, None)
    if found is None:
        return False
    session_id, values = found
    session.clear()
    session.update(values)
    session.rotate = True  # type: ignore[attr-defined]
    _store().delete(session_id)
    return True


def _store() -> SessionStore:
    interface = current_app.session_interface
    assert isinstance(interface, ServerSessions)
    return interface.store
