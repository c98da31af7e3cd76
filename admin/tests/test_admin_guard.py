"""Closed unless opened: the URL map against no session, other sites, other hosts."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from admin.guard import HEADERS, PUBLIC_ENDPOINTS

#: What may be open, written down a second time on purpose.
OPEN = {("/login", "GET"), ("/sign", "GET"), ("/api/auth/verify", "POST"), ("/static/<path:filename>", "GET")}
#: Fewer routes than this would mean that the matrix no longer sees the application.
AT_LEAST = 10


def routes(app: Flask) -> list[tuple[str, str, str]]:
    found = []
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            found.append((rule.rule, method, rule.endpoint))
    return found


def test_list_of_open_routes_is_exact(app: Flask) -> None:
    assert {(rule, method) for rule, method, endpoint in routes(app) if endpoint in PUBLIC_ENDPOINTS} == OPEN
    assert len(routes(app)) >= AT_LEAST


def test_every_other_route_needs_the_session(app: Flask, bare: Any, engine: Any) -> None:
    tried = 0
    for rule, method, endpoint in routes(app):
        if endpoint in PUBLIC_ENDPOINTS:
            continue
        for headers in ({}, {"Accept": "application/json"}, {"Cookie": "__Secure-blockhost-admin=x"}):
            reply = bare.open(method, rule, headers=headers)
            assert reply.status_code in (401, 303), (rule, method)
            assert reply.status_code == 401 or reply.location == "/admin/login"
            tried += 1
    assert tried >= 3 * (AT_LEAST - len(OPEN))
    assert engine.asked() == []


def test_unknown_path_and_method_tell_nothing_without_a_session(browser: Any) -> None:
    assert browser.get("/nothing").status_code == 401
    assert browser.open("DELETE", "/api/system").status_code == 401
    browser.log_in()
    assert browser.get("/nothing").status_code == 404
    assert browser.open("DELETE", "/api/system").status_code == 405


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://192.0.2.1"},
    {"Origin": "https://192.0.2.1:8443"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://192.0.2.1"},
]


def test_other_sites_change_nothing(app: Flask, browser: Any) -> None:
    browser.log_in()
    tried = 0
    for rule, method, _endpoint in routes(app):
        if method == "GET":
            continue
        for headers in FOREIGN:
            assert browser.open(method, rule, headers=headers, json={}).status_code == 403, (rule, headers)
            tried += 1
    assert tried >= 3 * len(FOREIGN)


@pytest.mark.parametrize("headers", [{"Origin": "https://192.0.2.1", "Sec-Fetch-Site": "same-origin"}, {}])
def test_own_pages_and_plain_clients_pass(browser: Any, headers: dict[str, str]) -> None:
    browser.log_in()
    assert browser.post("/api/system/hostname", headers=headers, json={}).status_code == 400  # past the guard


@pytest.mark.parametrize(
    "host", ["evil.example", "192.0.2.1.evil.example", "a b", "", "localhost.evil.example", "[::1"]
)
def test_foreign_host_is_refused(browser: Any, host: str) -> None:
    assert browser.get("/login", headers={"X-Forwarded-Host": host or "."}).status_code in (400, 421)


@pytest.mark.parametrize("host", ["192.0.2.77", "[2001:db8::1]", "localhost", "192.0.2.77:8443"])
def test_own_hosts_pass(browser: Any, host: str) -> None:
    assert browser.get("/login", headers={"X-Forwarded-Host": host}).status_code == 200


def test_public_name_passes_once_it_is_ours(browser: Any, tmp_path: Any) -> None:
    headers = {"X-Forwarded-Host": "box.example.org"}
    assert browser.get("/login", headers=headers).status_code == 421
    (tmp_path / "r/etc/blockhost/https.json").write_text('{"hostname": "box.example.org"}')
    assert browser.get("/login", headers=headers).status_code == 200


def test_every_answer_has_the_headers(browser: Any) -> None:
    for path in ("/login", "/nothing", "/api/system", "/sign"):
        reply = browser.get(path)
        for name, value in HEADERS.items():
            assert reply.headers[name] == value, (path, name)
    assert "script-src" not in HEADERS["Content-Security-Policy"]  # default-src 'none' covers it


def test_long_body_is_refused(browser: Any) -> None:
    assert browser.post("/api/auth/verify", data={"code": "x" * 70_000}).status_code == 413


def test_broken_json_is_explained(browser: Any) -> None:
    reply = browser.post("/api/auth/verify", data="{", content_type="application/json")
    assert reply.status_code == 400
    assert reply.json["ok"] is False
