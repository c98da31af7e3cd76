"""The panel with an engine that answers as told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from admin.app import create_app
from admin.login.challenges import Challenges
from admin.login.owner import Owner
from admin.login.sessions import Sessions

ADMIN = "SHA256:" + "a" * 43
OTHER = "SHA256:" + "b" * 43
SIGNATURE = "U1NIU0lH" + "x" * 80

# The signer of `who MESSAGE SIGNATURE` is in the file `signer`; each call is in the ledger.
BW = """#!/usr/bin/python3
import json, os, sys
from pathlib import Path
from typing import Any
place = Path(os.environ["BW_PLACE"])
with (place / "ledger").open("a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
file = place / ("admin" if sys.argv[2:] == ["admin"] else "signer")
if not file.exists():
    raise SystemExit(1)
print(file.read_text())
"""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Engine:
    """`bw`, as a program."""

    def __init__(self, place: Path) -> None:
        self.place = place
        (place / "bw").write_text(BW)
        (place / "bw").chmod(0o755)
        self.says(admin=ADMIN, signer=ADMIN)

    def says(self, **answers: str | None) -> None:
        for name, text in answers.items():
            if text is None:
                (self.place / name).unlink(missing_ok=True)
            else:
                (self.place / name).write_text(text)

    def asked(self) -> list[list[str]]:
        ledger = self.place / "ledger"
        return [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    root, programs = tmp_path / "r", tmp_path / "programs"
    for directory in (root / "etc/blockhost", root / "usr/share/blockhost", root / "run/blockhost", programs):
        directory.mkdir(parents=True)
    monkeypatch.setenv("BLOCKHOST_ROOT", str(root))
    monkeypatch.setenv("BLOCKHOST_PATH", f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin")
    monkeypatch.setenv("BW_PLACE", str(programs))
    return Engine(programs)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(engine: Engine, clock: Clock) -> Flask:
    made = create_app(
        challenges=Challenges(clock=clock), sessions=Sessions(clock=clock), owner=Owner(clock=clock)
    )
    made.testing = True
    return made


#: What nginx adds (blockhost.nginx_layout).
PROXIED = {
    "X-Forwarded-For": "192.0.2.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "192.0.2.1",
    "X-Forwarded-Prefix": "/admin",
}


class Browser:
    """A client as nginx presents it: over https, at /admin, with cookies of its own."""

    def __init__(self, app: Flask, *, keeps_cookies: bool = True) -> None:
        self.client = app.test_client(use_cookies=keeps_cookies)

    def open(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **more: Any
    ) -> TestResponse:
        # Flask's client merges our prefix into the path, as nginx and ProxyFix do.
        return self.client.open(
            path,
            method=method,
            headers={**PROXIED, **(headers or {})},
            base_url="https://192.0.2.1/admin",
            **more,
        )

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.open("GET", path, **more)

    def post(self, path: str, **more: Any) -> TestResponse:
        return self.open("POST", path, **more)

    def ask(self) -> dict[str, Any]:
        """A challenge for this browser."""
        found = self.get("/login", headers=JSON).json
        assert isinstance(found, dict)
        return found

    def verify(self, code: str, signature: str = SIGNATURE) -> TestResponse:
        return self.post("/api/auth/verify", json={"code": code, "signature": signature}, headers=JSON)

    def log_in(self) -> None:
        assert self.verify(self.ask()["code"]).json == {"ok": True}


JSON = {"Accept": "application/json"}


@pytest.fixture
def browser(app: Flask) -> Browser:
    return Browser(app)


@pytest.fixture
def other_browser(app: Flask) -> Browser:
    return Browser(app)


@pytest.fixture
def bare(app: Flask) -> Browser:
    """A client that keeps no cookies, so that a test can send any."""
    return Browser(app, keeps_cookies=False)
