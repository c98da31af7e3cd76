"""From a frame to an answer: parse, who may, typed parameters, log, act, log."""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from blockhost.errors import BlockhostError, FieldError, RootAgentError
from blockhost.fields import load_json_document
from blockhost.framing import MAX_FRAME, Peer
from blockhost.i18n import gettext as _
from blockhost.root_agent.action import DEFAULT_CALLERS, Action, redacted
from blockhost.root_agent.audit import AuditLog, encode

log = logging.getLogger(__name__)

Answer = dict[str, Any]
_KEYS = {"action", "params"}
#: Lines of the log that one account's refused frames may take in a second.
MOST_REFUSALS = 100


@dataclass(slots=True)
class Call:
    """A permitted call with checked parameters."""

    name: str
    action: Action
    params: dict[str, Any]
    arguments: dict[str, Any]
    peer: Peer
    #: What it must have for itself, or "" when nothing.
    resource: str


class Dispatcher:
    """Answers requests. Nothing raises: whatever goes wrong is an answer, too."""

    def __init__(self, actions: Mapping[str, Action], audit: AuditLog) -> None:
        self._actions = dict(actions)
        self._audit = audit
        #: Refusals by account: since when, how many. Only the reading thread counts.
        self._refused: dict[int, tuple[float, int]] = {}
        accounts = {name for action in actions.values() for name in action.callers} | set(DEFAULT_CALLERS)
        uids = {name: uid for name in accounts if (uid := _uid(name)) is not None}
        self._callers = {
            name: frozenset(uids[account] for account in action.callers if account in uids) | {os.geteuid()}
            for name, action in actions.items()
        }
        # The agent's own account: root on an appliance; in a dry run the user who started it.
        self._uids = frozenset(uids.values()) | {os.geteuid()}

    def may_connect(self, peer: Peer) -> bool:
        """Whether any action is open to this account; others are not even read."""
        return peer.uid in self._uids

    def take(self, payload: bytes, peer: Peer) -> Answer | Call:
        """Read one frame: a refusal, or the call to make."""
        name = ""
        params: dict[str, Any] = {}
        try:
            name, params = _parse(payload)
            action = self._permitted(name, peer)
            arguments = action.build(params)
            return Call(name, action, params, arguments, peer, action.lock_name(arguments))
        except Exception as error:
            if self._may_note_refusal(peer.uid):
                self._note(peer, name, params, phase="refused", error=_message(error, name))
            return _refusal(error, name)

    def _may_note_refusal(self, uid: int) -> bool:
        """Refusals have no effect; those beyond some hundred a second are counted instead, or one
        account could push what matters out of the log."""
        start, count = self._refused.get(uid, (0.0, 0))
        if time.monotonic() - start >= 1:
            if count > MOST_REFUSALS:
                with contextlib.suppress(OSError):
                    entry = {"phase": "refused", "uid": uid, "more": count - MOST_REFUSALS}
                    self._audit.append(entry, is_durable=False)
            start, count = time.monotonic(), 0
        self._refused[uid] = start, count + 1
        return count < MOST_REFUSALS

    def act(self, call: Call) -> Answer:
        """Log the call, make it, and log how it ended."""
        phase = "read" if call.action.only_reads else "call"
        try:
            # Durable before the effect: an action that cannot be logged does not happen.
            self._note(
                call.peer,
                call.name,
                call.params,
                phase=phase,
                is_durable=not call.action.only_reads,
                may_fail=False,
            )
        except OSError as error:
            return {
                "ok": False,
                "error": _("the agent cannot write its log: %(reason)s") % {"reason": error.strerror},
            }
        try:
            answer: Answer = {**call.action(**call.arguments), "ok": True}
        except Exception as error:
            self._note(call.peer, call.name, phase="failed", error=_message(error, call.name))
            return _refusal(error, call.name)
        if not call.action.only_reads:  # of a read, only a failure is worth a second line
            self._note(call.peer, call.name, phase="done")
        return answer

    def _permitted(self, name: str, peer: Peer) -> Action:
        # The same answer for both: a caller learns nothing about actions that are not for it.
        if peer.uid not in self._callers.get(name, ()):
            raise RootAgentError(_("no such action for this caller: %(name)a") % {"name": name[:60]})
        return self._actions[name]

    def _note(
        self,
        peer: Peer,
        name: str,
        params: Mapping[str, Any] | None = None,
        *,
        phase: str,
        error: str = "",
        is_durable: bool = False,
        may_fail: bool = True,
    ) -> None:
        text = f'{_who(phase, peer.uid, name[:60])},"pid":{peer.pid}'
        if params is not None:
            text += f',"params":{encode(redacted(params, self._actions.get(name)))}'
        if error:
            text += f',"error":{encode(error[:500])}'
        try:
            self._audit.append_encoded(text, is_durable=is_durable)
        except OSError:
            if not may_fail:
                raise
            log.exception("cannot write the audit log")


@lru_cache(256)
def _who(phase: str, uid: int, name: str) -> str:
    return encode({"phase": phase, "uid": uid, "action": ascii(name)[1:-1]})[1:-1]


def _parse(payload: bytes) -> tuple[str, dict[str, Any]]:
    document = load_json_document(payload, source="request", max_bytes=MAX_FRAME)
    if not isinstance(document, dict) or not document.keys() <= _KEYS:
        raise RootAgentError(_('expected {"action": …, "params": {…}}'))
    name, params = document.get("action"), document.get("params", {})
    if not isinstance(name, str) or not isinstance(params, dict):
        raise RootAgentError(_("expected action: str and params: object"))
    return name, params


def _refusal(error: Exception, name: str) -> Answer:
    answer: Answer = {"ok": False, "error": _message(error, name)}
    if isinstance(error, BlockhostError) and error.hint:
        answer["hint"] = error.hint
    return answer


def _message(error: Exception, name: str) -> str:
    if isinstance(error, FieldError):
        return ascii(str(error))[1:-1]
    if isinstance(error, BlockhostError):
        return str(error)
    # The text of an unexpected exception may hold anything: it goes to the journal only.
    log.error("action %s failed", ascii(name[:60]), exc_info=error)
    return _("internal error, see the agent's log")


def _uid(account: str) -> int | None:
    try:
        return pwd.getpwnam(account).pw_uid
    except KeyError:
        return None
