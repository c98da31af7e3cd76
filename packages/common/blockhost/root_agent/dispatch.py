"""From a frame to an answer: parse, who may, typed parameters, log, act, log."""

from __future__ import annotations

import logging
import os
import pwd
from collections.abc import Callable, Mapping
from typing import Any

from blockhost.errors import BlockhostError, FieldError, RootAgentError
from blockhost.fields import load_json_document
from blockhost.framing import MAX_FRAME, Peer
from blockhost.root_agent.action import DEFAULT_CALLERS, Action, redacted
from blockhost.root_agent.audit import AuditLog
from blockhost.root_agent.lanes import Lanes

log = logging.getLogger(__name__)

Answer = dict[str, Any]
Reply = Callable[[Answer], None]


class Dispatcher:
    """Answers requests; every path ends in exactly one reply."""

    def __init__(self, actions: Mapping[str, Action], audit: AuditLog, lanes: Lanes) -> None:
        self._actions = dict(actions)
        self._audit = audit
        self._lanes = lanes
        accounts = {name for action in actions.values() for name in action.callers} | set(DEFAULT_CALLERS)
        self._uids = {name: uid for name in accounts if (uid := _uid(name)) is not None}

    def may_connect(self, peer: Peer) -> bool:
        """Whether any action is open to this account; others are not even read."""
        return peer.uid in self._uids.values() or peer.uid == _own_uid()

    def submit(self, payload: bytes, peer: Peer, reply: Reply) -> None:
        """Handle one frame in a worker; `reply` is called there, once."""
        self._lanes.submit(lambda: self._begin(payload, peer, reply))

    def _begin(self, payload: bytes, peer: Peer, reply: Reply) -> None:
        name = ""
        params: dict[str, Any] = {}
        try:
            name, params = _parse(payload)
            action = self._permitted(name, peer)
            arguments = action.build(params)
            resource = action.lock_name(arguments)
        except Exception as error:
            self._note(peer, name, params, phase="refused", error=_message(error, name))
            reply(_refusal(error, name))
            return

        def act() -> None:
            reply(self._act(action, arguments, peer, name, params))

        if resource or action.is_slow:
            self._lanes.submit(act, resource=resource, is_slow=action.is_slow)
        else:
            act()

    def _permitted(self, name: str, peer: Peer) -> Action:
        action = self._actions.get(name)
        # The same answer for both: a caller learns nothing about actions that are not for it.
        if action is None or not self._is_caller(peer, action):
            raise RootAgentError(f"no such action for this caller: {name[:60]!a}")
        return action

    def _is_caller(self, peer: Peer, action: Action) -> bool:
        return peer.uid == _own_uid() or peer.uid in {self._uids.get(account) for account in action.callers}

    def _act(
        self, action: Action, arguments: dict[str, Any], peer: Peer, name: str, params: dict[str, Any]
    ) -> Answer:
        try:
            # Durable before the effect: an action that cannot be logged does not happen.
            self._note(peer, name, params, phase="call", is_durable=not action.only_reads, may_fail=False)
        except OSError as error:
            return {"ok": False, "error": f"the agent cannot write its log: {error.strerror}"}
        try:
            answer: Answer = {**action(**arguments), "ok": True}
        except Exception as error:
            self._note(peer, name, phase="failed", error=_message(error, name))
            return _refusal(error, name)
        self._note(peer, name, phase="done")
        return answer

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
        entry: dict[str, Any] = {
            "phase": phase,
            "uid": peer.uid,
            "pid": peer.pid,
            "action": ascii(name[:60])[1:-1],
        }
        if params is not None:
            entry["params"] = redacted(params, self._actions.get(name))
        if error:
            entry["error"] = error[:500]
        try:
            self._audit.append(entry, is_durable=is_durable)
        except OSError:
            if not may_fail:
                raise
            log.exception("cannot write the audit log")


def _parse(payload: bytes) -> tuple[str, dict[str, Any]]:
    document = load_json_document(payload, source="request", max_bytes=MAX_FRAME)
    if not isinstance(document, dict) or not set(document) <= {"action", "params"}:
        raise RootAgentError('expected {"action": …, "params": {…}}')
    name, params = document.get("action"), document.get("params", {})
    if not isinstance(name, str) or not isinstance(params, dict):
        raise RootAgentError("expected action: str and params: object")
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
    return "internal error, see the agent's log"


def _uid(account: str) -> int | None:
    try:
        return pwd.getpwnam(account).pw_uid
    except KeyError:
        return None


def _own_uid() -> int:
    """Root on an appliance; in a dry run the user who started it."""
    return os.geteuid()
