"""The first page comes before everything else is loaded.

An operator who opens the address sees the login page; pages, API and plugins are loaded while the
code is read off the console. Both applications have the same guard.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse


class Front:
    """WSGI: `GET /login` by the small application until the whole one is there, the rest by that one."""

    def __init__(self, first: Flask, load: Callable[[], Flask]) -> None:
        self._first = first
        self._load = load
        self._whole: Flask | None = None
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        app = self._whole
        if app is None:
            is_first_page = environ.get("REQUEST_METHOD") == "GET" and environ.get("PATH_INFO") == "/login"
            app = self._first if is_first_page else self.whole()
        answer: Iterable[bytes] = app(environ, start_response)
        return answer

    def whole(self) -> Flask:
        """The whole application, loaded by whoever asks first."""
        with self._lock:
            if self._whole is None:
                self._whole = self._load()
            return self._whole
