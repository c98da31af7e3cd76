"""A small browser: forms, cookies, redirects, JSON, event streams; nothing a browser cannot do."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from blockhost.errors import BlockhostError
from blockhost.fields import load_json_document
from blockhost.i18n import gettext as _
from installer.setup_cli.tls import ConnectionTrouble, PinnedConnection, Pins

MAX_BODY = 4 * 1024 * 1024
MAX_LINE = 64 * 1024
MAX_REDIRECTS = 10
TIMEOUT_S = 30.0
#: How long a server may be away (nginx changes its site, the wizard restarts) before we give up.
PATIENCE_S = 60.0


class Unreachable(BlockhostError):
    """The server did not answer for a while."""


class BadAnswer(BlockhostError):
    """The server said something that is not of this protocol."""


class _Interrupted(Exception):
    """Trouble with a connection, and whether the request had begun to travel."""

    def __init__(self, reason: Exception, *, was_sent: bool) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.was_sent = was_sent


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `path` is where redirects led."""

    status: int
    path: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            BadAnswer: it is none.
        """
        try:
            document = load_json_document(self.body, source=self.path, max_bytes=MAX_BODY)
        except BlockhostError as error:
            raise BadAnswer(_("expected JSON from the server: %s") % error) from None
        if not isinstance(document, dict):
            raise BadAnswer(_("%s: expected a JSON object") % self.path)
        return document


class Browser:
    """One browser at one appliance. Cookies stay in it."""

    def __init__(
        self, url: str, pins: Pins, *, timeout: float = TIMEOUT_S, patience: float = PATIENCE_S
    ) -> None:
        self.host, self.port = parse_url(url)
        self.pins = pins
        self.cookies: dict[str, str] = {}
        self._timeout = timeout
        self._patience = patience

    def at(self, host: str, *, patience: float | None = None) -> Browser:
        """The same browser, cookies included, at another address of the machine."""
        name = f"[{host}]" if ":" in host else host
        other = Browser(
            f"https://{name}:{self.port}",
            self.pins,
            timeout=self._timeout,
            patience=self._patience if patience is None else patience,
        )
        other.cookies = self.cookies
        return other

    @property
    def origin(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{name}" + ("" if self.port == 443 else f":{self.port}")

    def get(self, path: str) -> Reply:
        """Fetch a page, following redirects; a server that is away for a moment is waited for."""
        return self._follow("GET", path, None, {})

    def post_form(self, path: str, form: Mapping[str, str], *, repeatable: bool = True) -> Reply:
        """Send a form and follow the redirect.

        A form that is not `repeatable` (a code that counts) is sent at most once.
        """
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._follow("POST", path, urlencode(form).encode(), headers, repeatable=repeatable)

    def post_json(self, path: str, document: object) -> Reply:
        """Call the JSON API."""
        body = json.dumps(document).encode()
        return self._send("POST", path, body, {"Content-Type": "application/json"}, repeatable=True)

    def events(self, path: str, after: int, *, idle_s: float) -> Iterator[dict[str, Any] | None]:
        """Server-sent events since `after`; None whenever nothing came for `idle_s` seconds.

        Ends when the stream ends, however it does: the caller asks for the status anyway.
        """
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after), **self._headers()}
        connection = self._connection(timeout=idle_s)
        try:
            connection.request("GET", path, headers=headers)
            reply = connection.getresponse()
            if reply.status != 200 or "text/event-stream" not in reply.headers.get("Content-Type", ""):
                return
            yield from _parse_events(reply)
        except ConnectionTrouble:
            return
        finally:
            connection.close()

    def _follow(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        *,
        repeatable: bool = True,
    ) -> Reply:
        for _hop in range(MAX_REDIRECTS):
            reply = self._send(method, path, body, headers, repeatable=repeatable)
            if reply.status not in (301, 302, 303, 307, 308):
                return reply
            path = self._target(path, reply.headers.get("location", ""))
            if reply.status in (301, 302, 303):
                method, body, headers = "GET", None, {}
        raise BadAnswer(_("the server redirects in circles"))

    def _target(self, path: str, location: str) -> str:
        """Where a redirect leads; another machine is not followed, its certificate was not pinned."""
        target = urlsplit(urljoin(self.origin + path, location))
        if (
            not location
            or target.scheme != "https"
            or (target.hostname, target.port or 443) != (self.host, self.port)
        ):
            raise BadAnswer(_("the server redirects to another place: %s") % repr(location[:200]))
        return target.path + (f"?{target.query}" if target.query else "")

    def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], *, repeatable: bool
    ) -> Reply:
        """One request; trouble with the connection is waited out, and 502 to 504 are nginx's trouble."""
        waits = _Patience(self._patience)
        while True:
            try:
                reply = self._once(method, path, body, headers)
            except _Interrupted as trouble:
                if (trouble.was_sent and not repeatable) or not waits.again():
                    raise self._unreachable(trouble.reason) from trouble.reason
            else:
                if reply.status in (502, 503, 504) and repeatable and waits.again():
                    continue
                return reply

    def _once(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        connection = self._connection(timeout=self._timeout)
        was_sent = False
        try:
            connection.connect()
            was_sent = True
            connection.request(method, path, body=body, headers={**self._headers(), **headers})
            reply = connection.getresponse()
            content = reply.read(MAX_BODY + 1)
        except ConnectionTrouble as error:
            raise _Interrupted(error, was_sent=was_sent) from error
        finally:
            connection.close()
        if len(content) > MAX_BODY:
            raise BadAnswer(_("%s: the answer is too long") % path)
        self._keep_cookies(reply.headers.get_all("Set-Cookie") or [])
        return Reply(
            reply.status, path, content, {key.lower(): value for key, value in reply.headers.items()}
        )

    def _unreachable(self, reason: Exception) -> Unreachable:
        return Unreachable(
            _("%(origin)s does not answer: %(reason)s")
            % {"origin": self.origin, "reason": getattr(reason, "strerror", None) or reason},
            hint=_("Is the machine on, and the address that of its console?"),
        )

    def _connection(self, *, timeout: float) -> PinnedConnection:
        return PinnedConnection(self.host, self.port, pins=self.pins, timeout=timeout)

    def _headers(self) -> dict[str, str]:
        headers = {"User-Agent": "blockhost-setup", "Accept-Language": "en", "Connection": "close"}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return headers

    def _keep_cookies(self, lines: list[str]) -> None:
        for line in lines:
            cookie: SimpleCookie = SimpleCookie()
            try:
                cookie.load(line)
            except CookieError:
                continue
            for name, morsel in cookie.items():
                if morsel["max-age"] == "0" or not morsel.value:
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value


class _Patience:
    """Waits that grow, until the time is up."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._pause = 0.2

    def again(self) -> bool:
        """Wait a little and say whether to try once more."""
        if time.monotonic() + self._pause > self._deadline:
            return False
        time.sleep(self._pause)
        self._pause = min(2.0, self._pause * 1.5)
        return True


def parse_url(url: str) -> tuple[str, int]:
    """Host and port of `https://HOST[:PORT]`.

    Raises:
        BlockhostError: it is another kind of URL.
    """
    problem = BlockhostError(_("expected a URL such as https://192.168.1.10, got %s") % repr(url[:200]))
    try:
        parts = urlsplit(url if "//" in url else f"https://{url}")
        port = parts.port or 443
    except ValueError:
        raise problem from None
    if (
        parts.scheme != "https"
        or not parts.hostname
        or parts.path.strip("/")
        or parts.username
        or parts.query
    ):
        raise problem
    return parts.hostname, port


def _parse_events(reply: http.client.HTTPResponse) -> Iterator[dict[str, Any] | None]:
    """The `text/event-stream` format (HTML standard, section 9.2): comments are heartbeats."""
    fields: dict[str, list[str]] = {}
    while line := reply.readline(MAX_LINE):
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if not text:
            event = _event(fields)
            fields = {}
            yield event
        elif not text.startswith(":"):
            name, _colon, value = text.partition(":")
            fields.setdefault(name, []).append(value.removeprefix(" "))


def _event(fields: Mapping[str, list[str]]) -> dict[str, Any] | None:
    try:
        document = json.loads("\n".join(fields.get("data", [])))
    except ValueError:
        return None
    if not isinstance(document, dict):
        return None
    if fields.get("event"):
        document.setdefault("type", fields["event"][-1])
    identity = (fields.get("id") or [""])[-1]
    if identity.isdigit():
        document.setdefault("id", int(identity))
    return document
