"""Sessions on the server: the browser holds a random id, a file of mode 0600 the answers.

An id has 128 random bits; its file is named by the id's hash, so listing the directory gives no
session away. Visitors who have not logged in have no session at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import secrets
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flask import Flask, Request, Response
from flask.sessions import SessionInterface, SessionMixin

from blockhost import boot_clock
from blockhost.errors import DamagedFile
from blockhost.files import make_dir, read_json, remove, write_json
from blockhost.placeholders import is_placeholder, placeholder

log = logging.getLogger(__name__)

#: The prefix makes browsers insist on Secure, Path=/ and no Domain (RFC 6265bis section 4.1.3).
COOKIE = "__Host-blockhost"
IDLE_S = 4 * 3600
MOST_SESSIONS = 64
_ID = re.compile(r"[0-9a-f]{32}")


class KeptSecret(dict[str, str]):
    """Stands for a secret that the worker keeps. Prints as nothing, so no form shows it."""

    def __str__(self) -> str:
        return ""

    def __html__(self) -> str:
        return ""


def kept(name: str) -> KeptSecret:
    """The placeholder that a session holds instead of a secret."""
    return KeptSecret(placeholder(name))


class SessionStore:
    """The files. Each write replaces a file whole; a change of one key keeps the others' changes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()

    def load(self, session_id: str) -> dict[str, Any] | None:
        """What this session holds, or None: unknown, expired or damaged."""
        path = self._path(session_id)
        try:
            if boot_clock.seconds() - path.stat().st_mtime > IDLE_S:
                self.delete(session_id)
                return None
            document = read_json(path)
        except FileNotFoundError:
            return None
        except DamagedFile as damage:
            log.warning("%s; its owner has to log in again", damage)
            return None
        self._touch(path)
        return document if isinstance(document, dict) else None

    def create(self, values: Mapping[str, Any]) -> str:
        """A new session with a new id; the least recently used ones make room."""
        session_id = secrets.token_hex(16)
        with self._lock:
            make_dir(self._directory, mode=0o700)
            self._make_room()
            self._write(session_id, dict(values))
        return session_id

    def merge(self, session_id: str, changed: Mapping[str, Any], removed: Iterable[str]) -> None:
        """Change some keys; what another request changed meanwhile stays. An ended session stays ended."""
        with self._lock:
            try:
                document = read_json(self._path(session_id))
            except (FileNotFoundError, DamagedFile):
                return
            document.update(changed)
            for key in removed:
                document.pop(key, None)
            self._write(session_id, document)

    def delete(self, session_id: str) -> None:
        remove(self._path(session_id))

    def _path(self, session_id: str) -> Path:
        return self._directory / hashlib.sha256(session_id.encode()).hexdigest()

    def _write(self, session_id: str, document: Mapping[str, Any]) -> None:
        path = self._path(session_id)
        write_json(path, document, mode=0o600)
        self._touch(path)

    @staticmethod
    def _touch(path: Path) -> None:
        # The time stamp holds the boot clock: a jump of the wall clock logs nobody out.
        now = boot_clock.seconds()
        with contextlib.suppress(FileNotFoundError):
            if abs(path.stat().st_mtime - now) > 30:
                os.utime(path, (now, now))

    def _make_room(self) -> None:
        files = sorted(self._directory.iterdir(), key=lambda file: file.stat().st_mtime)
        for file in files[: max(0, len(files) - MOST_SESSIONS + 1)]:
            remove(file)


class ServerSession(dict[str, Any], SessionMixin):
    """Flask's `session`. Knows what it held when it was loaded, so nested changes are seen too."""

    def __init__(self, values: Mapping[str, Any], session_id: str | None) -> None:
        super().__init__(_with_placeholders(values))
        self.session_id = session_id
        self.new = session_id is None
        self.rotate = False
        self._loaded = {key: _text(value) for key, value in self.items()}

    @property
    def modified(self) -> bool:
        return bool(self.changed() or self.removed())

    @modified.setter
    def modified(self, value: bool) -> None:
        """Flask's way to announce nested changes; ours finds them by itself."""

    def changed(self) -> dict[str, Any]:
        """Keys whose values differ from what was loaded."""
        return {key: value for key, value in self.items() if self._loaded.get(key) != _text(value)}

    def removed(self) -> set[str]:
        return set(self._loaded) - set(self)


class ServerSessions(SessionInterface):
    """Opens and saves sessions for Flask."""

    def __init__(self, store: SessionStore) -> None:
        self.store = store

    def open_session(self, app: Flask, request: Request) -> ServerSession:  # noqa: ARG002
        session_id = request.cookies.get(COOKIE, "")
        values = self.store.load(session_id) if _ID.fullmatch(session_id) else None
        return ServerSession(values or {}, session_id if values is not None else None)

    def save_session(
        self,
        app: Flask,  # noqa: ARG002
        session: SessionMixin,
        response: Response,
    ) -> None:
        assert isinstance(session, ServerSession)
        if session.rotate:
            # A new id at login: one that somebody planted before is worth nothing (fixation).
            if session.session_id is not None:
                self.store.delete(session.session_id)
            _set_cookie(response, self.store.create(session))
        elif session.session_id is None:
            return
        elif not session:
            self.store.delete(session.session_id)
            response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
        elif session.modified:
            self.store.merge(session.session_id, session.changed(), session.removed())


def _set_cookie(response: Response, session_id: str) -> None:
    response.set_cookie(COOKIE, session_id, path="/", secure=True, httponly=True, samesite="Strict")


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _with_placeholders(value: Any) -> Any:
    if isinstance(value, Mapping):
        if is_placeholder(value):
            return KeptSecret(value)
        return {key: _with_placeholders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_placeholders(item) for item in value]
    return value
