"""A client that speaks only HTTPS: what a CI job would write, without a browser and without our code.

It refuses to talk to a server whose certificate is not the one that the console shows.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    location: str
    body: str

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def alerts(self) -> list[str]:
        """What the page complains about."""
        found = re.findall(r'role="alert"[^>]*>(.*?)</', self.body, re.DOTALL)
        return [re.sub(r"<[^>]+>|\s+", " ", text).strip() for text in found]


class CiClient:
    """One session with one appliance; `fingerprint` is upper-case SHA-256 with colons."""

    def __init__(self, port: int, fingerprint: str) -> None:
        self.port = port
        self.fingerprint = fingerprint
        self.cookies: dict[str, str] = {}

    def get(self, path: str, **headers: str) -> Reply:
        return self._ask("GET", path, None, headers)

    def post(self, path: str, fields: Mapping[str, str] | None = None, **headers: str) -> Reply:
        return self._ask("POST", path, urlencode(fields or {}), headers)

    def post_json(self, path: str, document: object) -> Reply:
        return self._ask("POST", path, json.dumps(document), {"Content-Type": "application/json"})

    def page(self, path: str, fields: Mapping[str, str]) -> Reply:
        """Look at a page, post it, and insist that it was accepted."""
        shown = self.get(path)
        assert shown.status == 200, f"GET {path}: {shown.status} {shown.location}\n{shown.body[:1500]}"
        reply = self.post(path, fields)
        assert reply.status in (302, 303), f"POST {path}: {reply.status} {reply.alerts}\n{reply.body[:3000]}"
        return reply

    def _ask(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Reply:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # pinned by fingerprint instead
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=TIMEOUT_S, context=context)
        try:
            connection.connect()
            self._insist_on_certificate(connection)
            cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            kind = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
            connection.request(
                method, path, body, {**kind, **({"Cookie": cookies} if cookies else {}), **headers}
            )
            response = connection.getresponse()
            for cookie in response.headers.get_all("Set-Cookie") or []:
                name, _, value = cookie.partition(";")[0].partition("=")
                self.cookies[name] = value
            text = response.read().decode("utf-8", "replace")
            return Reply(response.status, response.getheader("Location") or "", text)
        finally:
            connection.close()

    def _insist_on_certificate(self, connection: http.client.HTTPSConnection) -> None:
        served = connection.sock.getpeercert(binary_form=True)
        assert served is not None
        digest = hashlib.sha256(served).hexdigest().upper()
        found = ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))
        assert found == self.fingerprint, f"{found} is served, the console shows {self.fingerprint}"


def wait_until(condition: Callable[[], Any], seconds: float, what: str, *, pause: float = 0.5) -> Any:
    """Wait for a condition to be truthy; connection errors count as "not yet"."""
    deadline = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            if result := condition():
                return result
        except (OSError, http.client.HTTPException, ValueError) as error:
            last = error
        time.sleep(pause)
    raise AssertionError(f"{what}: not within {seconds:.0f} s (last: {last})")
