"""The guard: cases are generated from the URL map, so a new route is attacked from its first day."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from werkzeug.routing import Rule

from installer.web import guard

BASE = "https://192.0.2.10"
UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}

#: The whole list of what opens without a session. It grows by a decision, not by an accident.
EXPECTED_PUBLIC = {
    ("/login", "GET"),
    ("/login", "POST"),
    ("/healthz", "GET"),
    ("/wizard/network/confirm", "GET"),
    ("/wizard/network/confirm", "POST"),
    ("/static/<path:filename>", "GET"),
    ("/static/theme.css", "GET"),
    ("/api/setup-test", "POST"),
}

ATTACKS = {
    "foreign origin": {"headers": {"Origin": "https://evil.example"}},
    "origin of another port": {"headers": {"Origin": "https://192.0.2.10:8443"}},
    "origin without TLS": {"headers": {"Origin": "http://192.0.2.10"}},
    "an attacker's own address": {"headers": {"Origin": "https://198.51.100.7"}},
    "null origin": {"headers": {"Origin": "null"}},
    "cross-site": {"headers": {"Sec-Fetch-Site": "cross-site"}},
    "same-site, another host": {"headers": {"Sec-Fetch-Site": "same-site"}},
    "cross-site with our origin": {"headers": {"Sec-Fetch-Site": "cross-site", "Origin": BASE}},
    "an unknown word": {"headers": {"Sec-Fetch-Site": "sideways"}},
}

HOSTS_REFUSED = [
    "evil.example",
    "192.0.2.10.evil.example",
    "localhost.evil.example",
    "blockhost.local.evil.example",
    "evil.example:443",
    "user@192.0.2.10",
    "",
]
HOSTS_ACCEPTED = [
    "192.0.2.10",
    "192.0.2.10:8443",
    "[2001:db8::1]",
    "[::1]:8443",
    "localhost:8443",
    "blockhost.local",
    "BLOCKHOST.local.",
    "blockhost",
]


def rules(site) -> Iterator[tuple[Rule, str]]:
    """Every route that answers, with each of its methods."""
    for rule in site.app.url_map.iter_rules():
        if not rule.build_only:
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield rule, method


def path_of(rule: Rule) -> str:
    return re.sub(r"<[^>]+>", "x", rule.rule)


def open_as(client, method: str, path: str, **more):
    return client.open(path, method=method, base_url=BASE, **more)


def test_public_routes_are_exactly_those_listed(site) -> None:
    found = {(rule.rule, method) for rule, method in rules(site) if rule.endpoint in guard.PUBLIC_ENDPOINTS}
    assert found == EXPECTED_PUBLIC


def test_every_other_route_needs_the_session(site) -> None:
    asked = 0
    for rule, method in rules(site):
        if rule.endpoint in guard.PUBLIC_ENDPOINTS:
            continue
        answer = open_as(site.client, method, path_of(rule))
        if rule.rule.startswith("/api/"):
            assert answer.status_code == 401, (rule, method)
            assert set(answer.json) == {"error"}
        else:
            assert answer.status_code == 303, (rule, method)
            assert answer.location == "/login", (rule, method)
        asked += 1
    assert asked >= 40
    assert [call for call in site.worker.calls if call[0] != "host"] == []


def test_routes_that_do_not_exist_look_the_same_without_session(site) -> None:
    assert open_as(site.client, "GET", "/wizard/nothing").location == "/login"
    assert open_as(site.client, "POST", "/api/nothing").status_code == 401
    assert open_as(site.client, "OPTIONS", "/api/finalize").status_code == 401
    assert open_as(site.client, "DELETE", "/api/finalize").status_code == 401


@pytest.mark.parametrize("attack", ATTACKS)
def test_other_sites_cannot_act(open_site, attack: str) -> None:
    """Every route that changes something, the login included, refuses what another site sends."""
    before = open_site.sessions()
    asked = 0
    for rule, method in rules(open_site):
        if method not in UNSAFE:
            continue
        answer = open_as(open_site.client, method, path_of(rule), **ATTACKS[attack])
        assert answer.status_code == 403, (rule, method, attack)
        asked += 1
    assert asked >= 20
    assert open_site.sessions() == before
    assert not {call for call, _ in open_site.worker.calls} & {
        "start",
        "retry",
        "reset",
        "reboot",
        "complete",
    }


def test_json_routes_refuse_what_a_form_of_another_site_can_send(open_site) -> None:
    asked = 0
    for rule, method in rules(open_site):
        if method in UNSAFE and rule.rule.startswith("/api/"):
            for kind in ("text/plain", "application/x-www-form-urlencoded"):
                answer = open_as(open_site.client, method, path_of(rule), data='{"a":1}', content_type=kind)
                assert answer.status_code == 415, (rule, kind)
                asked += 1
    assert asked >= 16


def test_bodies_are_capped_everywhere(open_site) -> None:
    asked = 0
    for rule, method in rules(open_site):
        if method in UNSAFE:
            limit = guard.max_body(path_of(rule))
            answer = open_as(open_site.client, method, path_of(rule), data=b"x" * (limit + 1))
            assert answer.status_code == 413, rule
            asked += 1
    assert asked >= 20


@pytest.mark.parametrize("host", HOSTS_REFUSED)
def test_foreign_host_names_are_refused(open_site, host: str) -> None:
    """DNS rebinding: the attacker's name leads to us, but it stays the attacker's name."""
    for rule, method in rules(open_site):
        answer = open_site.client.open(
            path_of(rule), method=method, base_url=BASE, headers={"X-Forwarded-Host": host, "Host": host}
        )
        assert answer.status_code in (400, 421), (rule, host)


@pytest.mark.parametrize("host", HOSTS_ACCEPTED)
def test_own_names_and_addresses_are_accepted(site, host: str) -> None:
    answer = site.client.get("/login", base_url=BASE, headers={"X-Forwarded-Host": host})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "host",
    [
        "192.0.2.10:99999",
        "[::1",
        "[::1]]",
        "::1",
        "a b",
        "192.0.2.10:",
        "192.0.2.10:x",
        "[fe80::1%25eth0]",
        "e\u0301",
    ],
)
def test_malformed_hosts_are_nobody(site, host: str) -> None:
    with site.app.app_context():
        assert not guard.is_own_host(host)


def test_our_own_forms_are_accepted_with_the_headers_that_browsers_send(open_site) -> None:
    for headers in (
        {"Origin": BASE, "Sec-Fetch-Site": "same-origin"},
        {"Origin": BASE},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},  # Referrer-Policy: no-referrer
        {},
    ):
        answer = open_as(open_site.client, "POST", "/wizard/ipv6", data={}, headers=headers)
        assert answer.status_code == 303, headers


def test_every_answer_carries_the_headers(open_site) -> None:
    paths = [
        "/login",
        "/wizard/wallet",
        "/api/status",
        "/nothing",
        "/healthz",
        "/wizard/summary",
        "/static/x",
    ]
    for path in paths:
        answer = open_as(open_site.client, "GET", path)
        policy = answer.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store", path
        assert "Server" not in answer.headers


def test_pages_carry_no_inline_script_or_style(open_site) -> None:
    """The policy would stop them; a page of ours must not need them."""
    pages = 0
    for path in ("/wizard/wallet", "/wizard/network", "/wizard/storage", "/wizard/ipv6"):
        text = open_as(open_site.client, "GET", path).text
        open_site.answer(*[name for name in ("wallet", "network", "storage") if path.endswith(name)])
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", text), path
        pages += 1
    assert pages == 4


def test_traversal_leads_nowhere(open_site) -> None:
    for path in (
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/wizard/../static/../../app.py",
        "/wizard/%00",
    ):
        assert open_as(open_site.client, "GET", path).status_code in (303, 308, 404), path


def test_methods_that_a_route_does_not_have_are_named(open_site) -> None:
    answer = open_as(open_site.client, "DELETE", "/api/finalize")
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]
