"""Login: one code, ten guesses, a session that nobody could have planted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from testing.fakes.worker import CODE

BASE = "https://192.0.2.10"


def test_right_code_opens_the_first_page(site) -> None:
    answer = site.post("/login", data={"otp": " abcd-2345 "})
    assert answer.status_code == 303
    assert site.get(answer.location, follow_redirects=True).request.path == "/wizard/wallet"


def test_cookie_is_locked_down(site) -> None:
    cookie = site.post("/login", data={"otp": CODE}).headers["Set-Cookie"]
    name, rest = cookie.split("=", 1)
    assert name == "__Host-blockhost"
    assert {part.strip() for part in rest.split(";")[1:]} == {
        "Secure",
        "HttpOnly",
        "Path=/",
        "SameSite=Strict",
    }
    assert len(rest.split(";")[0]) == 32


def test_visitors_get_no_session(site) -> None:
    assert "Set-Cookie" not in site.get("/login").headers
    assert "Set-Cookie" not in site.post("/login", data={"otp": "WRONG"}).headers
    assert site.sessions() == []


def test_planted_session_id_is_replaced_at_login(site) -> None:
    planted = "0" * 32
    answer = site.twin(planted).post("/login", data={"otp": CODE}, base_url=BASE)
    assert answer.status_code == 303
    assert planted not in answer.headers["Set-Cookie"]
    assert site.twin(planted).get("/wizard/wallet", base_url=BASE).location == "/login"


def test_second_login_ends_the_first_session_of_that_browser(site) -> None:
    first, second = site.log_in(), site.log_in()
    assert first != second
    assert site.twin(first).get("/wizard/wallet", base_url=BASE).location == "/login"
    assert site.twin(second).get("/wizard/wallet", base_url=BASE).status_code == 200


def test_wrong_code_says_what_is_left_and_how_to_renew(site) -> None:
    answer = site.post("/login", data={"otp": "ZZZZ9999"})
    assert answer.status_code == 422
    assert "9 tries are left" in answer.text
    assert "blockhost-otp" in answer.text
    assert 'role="alert"' in answer.text
    assert "ZZZZ9999" not in answer.text


@pytest.mark.parametrize("guess", ["", "   ", "x" * 65])
def test_what_cannot_be_a_code_costs_no_try(site, guess: str) -> None:
    assert site.post("/login", data={"otp": guess}).status_code == 422
    assert site.worker.guesses == 0


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("expired", "has expired"),
        ("used", "was used already"),
        ("locked", "is locked"),
        ("none", "no code at the moment"),
        ("something new", "does not know"),
    ],
)
def test_each_outcome_is_explained(site, monkeypatch, outcome: str, words: str) -> None:
    monkeypatch.setattr(site.worker, "login", lambda otp, source: {"outcome": outcome, "wait_s": 0})
    answer = site.post("/login", data={"otp": "ABCD2345"})
    assert answer.status_code == 422
    assert words in answer.text


def test_backoff_is_told_in_words_and_header(site, monkeypatch) -> None:
    monkeypatch.setattr(site.worker, "login", lambda otp, source: {"outcome": "wait", "wait_s": 4.2})
    answer = site.post("/login", data={"otp": "ABCD2345"})
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "5"
    assert "Wait 5 seconds" in answer.text


def test_worker_is_told_where_a_guess_comes_from(site) -> None:
    site.post("/login", data={"otp": "ABCD2345"}, headers={"X-Forwarded-For": "203.0.113.5, 192.0.2.77"})
    assert ("login", {"source": "192.0.2.77"}) in site.worker.calls


def test_fifty_guessers_get_ten_guesses(site) -> None:
    """The fake counts like the real one; test_web_worker has the real one."""

    def guess(number: int) -> int:
        client = site.new_client(HTTP_X_FORWARDED_FOR=f"203.0.113.{number}")
        return client.post("/login", data={"otp": f"WRONG{number:03}"}, base_url=BASE).status_code

    with ThreadPoolExecutor(50) as pool:
        assert set(pool.map(guess, range(50))) == {422}
    assert site.worker.guesses == 10


def test_login_works_again_after_the_worker_was_away(site) -> None:
    site.worker.is_down = True
    answer = site.post("/login", data={"otp": CODE})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    site.worker.is_down = False
    site.log_in()


def test_logout_ends_the_session_on_the_server(open_site) -> None:
    assert open_site.post("/logout").status_code == 303
    assert open_site.sessions() == []
    assert open_site.get("/wizard/wallet").location == "/login"


def test_login_page_of_somebody_logged_in_leads_on(open_site) -> None:
    assert open_site.get("/login").status_code == 303
