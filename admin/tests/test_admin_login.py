"""Login by signature: one browser, one code, once, by the administrator, for this host."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask

from admin.login import challenges as limits
from admin.login.challenges import Challenges

ADMIN = "SHA256:" + "a" * 43
OTHER = "SHA256:" + "b" * 43


def test_signature_of_the_administrator_opens_the_panel(browser: Any, engine: Any) -> None:
    asked = browser.ask()
    assert asked["message"] == f"Log in to the BlockHost admin panel of 192.0.2.1 with code {asked['code']}"
    assert browser.get(f"/sign?code={asked['code']}").text == asked["message"]
    reply = browser.verify(asked["code"])
    assert reply.json == {"ok": True}
    assert browser.get("/api/system").status_code == 200
    assert engine.asked()[0][:2] == ["who", asked["message"]]


def test_cookies_are_for_the_panels_path_only(browser: Any) -> None:
    asked = browser.ask()
    reply = browser.verify(asked["code"])
    cookie = reply.headers["Set-Cookie"]
    assert cookie.startswith("__Secure-blockhost-admin=")
    for part in ("; Secure", "; HttpOnly", "; Path=/admin/", "; SameSite=Strict", "; Max-Age=3600"):
        assert part in cookie
    assert "Domain" not in cookie


def test_page_works_without_scripts(browser: Any) -> None:
    page = browser.get("/login")
    code = page.text.split('name="code" value="')[1].split('"')[0]
    assert "<script" not in page.text
    reply = browser.post("/api/auth/verify", data={"code": code, "signature": "U1NIU0lH" + "x" * 80})
    assert (reply.status_code, reply.location) == (303, "/admin/")
    assert "Log out" in browser.get("/").text
    left = browser.get("/logout")
    assert (left.status_code, left.location) == (303, "/admin/login")
    assert browser.get("/").location == "/admin/login"


def test_refusal_on_the_page_comes_with_a_new_code(browser: Any, engine: Any) -> None:
    engine.says(signer=OTHER)
    code = browser.ask()["code"]
    reply = browser.post("/api/auth/verify", data={"code": code, "signature": "x" * 80})
    assert reply.status_code == 401
    assert "not the administrator" in reply.text
    assert code not in reply.text


@pytest.mark.parametrize(
    "story", ["wrong signer", "no signer", "used", "expired", "other browser", "no cookie", "wrong code"]
)
def test_refused(story: str, browser: Any, other_browser: Any, engine: Any, clock: Any) -> None:
    code = browser.ask()["code"]
    who = browser
    if story == "wrong signer":
        engine.says(signer=OTHER)
    elif story == "no signer":
        engine.says(signer=None)
    elif story == "used":
        engine.says(signer=OTHER)
        assert browser.verify(code).status_code == 401
        engine.says(signer=ADMIN)
    elif story == "expired":
        clock.now += limits.LIFETIME_S
    elif story == "other browser":
        other_browser.ask()
        who = other_browser
    elif story == "no cookie":
        who = other_browser
    else:
        code = "AAAAAA"
    reply = who.verify(code)
    assert reply.status_code == 401
    assert reply.json["ok"] is False
    assert who.get("/api/system", headers={"Accept": "application/json"}).status_code == 401


def test_foreign_browser_cannot_spend_a_challenge(browser: Any, other_browser: Any) -> None:
    code = browser.ask()["code"]
    other_browser.ask()
    assert other_browser.verify(code).status_code == 401
    assert browser.verify(code).status_code == 200


def test_hundred_parallel_posts_open_one_session(app: Flask, browser: Any) -> None:
    code = browser.ask()["code"]
    cookies = browser.get("/login").request.headers["Cookie"]

    def post(_: int) -> int:
        return int(
            app.test_client(use_cookies=False)
            .post(
                "/api/auth/verify",
                json={"code": code, "signature": "U1NIU0lH" + "x" * 80},
                headers={"Cookie": cookies, "X-Forwarded-Proto": "https", "X-Forwarded-Host": "192.0.2.1"},
            )
            .status_code
        )

    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(post, range(100)))
    assert sorted(found) == [200] + [401] * 99


@pytest.mark.parametrize(
    "signature",
    ["", "short", "--help", "-h" + "x" * 80, "a b" * 40, "x" * 9000, "x\n--help\n" * 9, "\0" * 80],
)
def test_what_is_no_signature_reaches_no_program(browser: Any, engine: Any, signature: str) -> None:
    assert browser.verify(browser.ask()["code"], signature).status_code == 401
    assert engine.asked() == []


def test_armoured_signature_is_passed_whole(browser: Any, engine: Any) -> None:
    armoured = (
        "-----BEGIN SSH SIGNATURE-----\r\n" + "U1NIU0lH" + "x" * 80 + "\r\n-----END SSH SIGNATURE-----\r\n"
    )
    assert browser.verify(browser.ask()["code"], armoured).status_code == 200
    assert engine.asked()[0][2] == armoured.replace("\r\n", "\n").strip()


def test_engine_that_does_not_know_its_administrator_lets_nobody_in(browser: Any, engine: Any) -> None:
    engine.says(admin=None)
    assert browser.verify(browser.ask()["code"]).status_code == 503
    engine.says(admin="", signer="")
    assert browser.verify(browser.ask()["code"]).status_code == 503


def test_administrator_is_asked_once_a_minute(browser: Any, engine: Any, clock: Any) -> None:
    for _ in range(3):
        browser.log_in()
        browser.get("/logout")
    assert engine.asked().count(["who", "admin"]) == 1
    clock.now += 61
    engine.says(admin=OTHER)
    assert browser.verify(browser.ask()["code"]).status_code == 401


def test_session_ends_after_an_hour(browser: Any, clock: Any) -> None:
    browser.log_in()
    clock.now += 3599
    assert browser.get("/api/system").status_code == 200
    clock.now += 1
    assert browser.get("/api/system").status_code == 401


def test_planted_session_name_opens_nothing(browser: Any, app: Flask) -> None:
    planted = app.test_client(use_cookies=False)
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "192.0.2.1"}
    cookie = {"Cookie": "__Secure-blockhost-admin=planted"}
    assert planted.get("/api/system", headers={**headers, **cookie}).status_code == 401
    browser.log_in()
    assert planted.get("/api/system", headers={**headers, **cookie}).status_code == 401


def test_hex_addresses_are_compared_without_case_and_fingerprints_with(browser: Any, engine: Any) -> None:
    engine.says(admin="0xABCDEF" + "0" * 34, signer="0xabcdef" + "0" * 34)
    browser.log_in()
    browser.get("/logout")


def test_fingerprints_differ_by_case(browser: Any, engine: Any) -> None:
    engine.says(signer=ADMIN.swapcase().replace("sha256", "SHA256"))
    assert browser.verify(browser.ask()["code"]).status_code == 401


def test_at_most_a_thousand_challenges_are_kept() -> None:
    kept = Challenges()
    first = kept.issue(browser="me", host="h", source="192.0.2.1")
    for number in range(3000):
        kept.issue(browser=str(number), host="h", source=f"198.51.100.{number % 200}")
    assert len(kept) <= limits.MOST
    flood = Challenges()
    mine = flood.issue(browser="me", host="h", source="192.0.2.1")
    for number in range(5000):
        flood.issue(browser=str(number), host="h", source="198.51.100.1")
    assert len(flood) <= limits.MOST_PER_SOURCE + 1
    assert flood.take(mine.code, browser="me") == mine  # a flood from elsewhere costs nobody else
    assert kept.find(first.code, browser="me") == first
