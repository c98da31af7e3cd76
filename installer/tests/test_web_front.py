"""The first page, served before the rest is loaded, is the same page behind the same guard."""

from __future__ import annotations

import pytest
from werkzeug.test import Client

from installer.discovery import Plugins
from installer.web import guard
from installer.web.base import base_app
from installer.web.front import Front
from installer.web.wizard import Wizard

BASE = "https://192.0.2.10"


class Started:
    """A wizard right after its start; counts how often the whole of it was loaded."""

    def __init__(self, site) -> None:
        self.loaded = 0
        self.site = site
        here = Wizard(
            plugins=Plugins(), worker=site.worker, host=site.wizard.host, session_dir=site.session_dir
        )
        self.first = base_app(here)
        self.client = Client(Front(self.first, self.load), use_cookies=False)

    def load(self):
        self.loaded += 1
        return self.site.app


@pytest.fixture
def started(site) -> Started:
    return Started(site)


def test_first_page_needs_nothing_else_and_is_the_same(started) -> None:
    early = started.client.get("/login", base_url=BASE)
    assert early.status_code == 200
    assert started.loaded == 0
    late = started.site.get("/login")
    assert early.text == late.text
    for name in guard.HEADERS:
        assert early.headers[name] == late.headers[name]


def test_anything_else_loads_the_whole_once(started) -> None:
    assert started.client.get("/healthz", base_url=BASE).status_code == 200
    assert started.client.post("/login", data={"otp": "x"}, base_url=BASE).status_code == 422
    assert started.client.get("/wizard/wallet", base_url=BASE).status_code == 303
    assert started.loaded == 1


def test_first_page_leads_on_who_is_logged_in_already(started) -> None:
    session_id = started.site.log_in()
    answer = started.client.get("/login", base_url=BASE, headers={"Cookie": f"__Host-blockhost={session_id}"})
    assert (answer.status_code, answer.location) == (303, "/wizard/")


def test_first_page_refuses_foreign_hosts(started) -> None:
    answer = started.client.get("/login", base_url=BASE, headers={"Host": "evil.example"})
    assert answer.status_code == 421
    assert started.loaded == 0


def test_small_application_has_public_routes_only(started) -> None:
    endpoints = {rule.endpoint for rule in started.first.url_map.iter_rules()}
    assert endpoints - guard.PUBLIC_ENDPOINTS == {"login.leave"}
    answer = started.first.test_client().post("/logout", base_url=BASE)
    assert answer.location == "/login"
