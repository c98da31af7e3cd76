"""The panel as the process that the unit starts, with the headers that nginx adds."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testing.fixtures.panel_process import panel_process

PROXIED = {
    "Host": "192.0.2.1",
    "X-Forwarded-For": "192.0.2.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "192.0.2.1",
    "X-Forwarded-Prefix": "/ops",
}


@pytest.fixture
def port(engine: Any, tmp_path: Path) -> Iterator[int]:
    with panel_process(tmp_path, os.environ) as number:
        yield number


def ask(
    port: int, method: str, path: str, body: str | None = None, **headers: str
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, body, {**PROXIED, **headers})
    reply = connection.getresponse()
    reply.text = reply.read().decode()  # type: ignore[attr-defined]
    connection.close()
    return reply


def test_login_over_the_wire(port: int) -> None:
    asked = ask(port, "GET", "/login", Accept="application/json")
    visit = asked.headers["Set-Cookie"].split(";")[0]
    assert "Path=/ops/" in asked.headers["Set-Cookie"]
    assert asked.headers.get("Server", "") == ""
    body = json.dumps({"code": json.loads(asked.text)["code"], "signature": "U1NIU0lH" + "x" * 80})  # type: ignore[attr-defined]
    json_type = {"Content-Type": "application/json", "Accept": "application/json"}
    done = ask(port, "POST", "/api/auth/verify", body, Cookie=visit, **json_type)
    assert done.status == 200
    session = done.headers["Set-Cookie"].split(";")[0]
    page = ask(port, "GET", "/", Cookie=session)
    assert page.status == 200
    assert 'href="/ops/static/admin.css"' in page.text  # type: ignore[attr-defined]
    assert ask(port, "GET", "/").headers["Location"] == "/ops/login"


def test_it_listens_on_loopback_only(port: int) -> None:
    listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    places = [
        line.split()[1] for line in listening.splitlines() if f":{port:04X} " in line and " 0A " in line
    ]
    assert places == [f"0100007F:{port:04X}"]
