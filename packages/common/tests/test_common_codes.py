"""The one-time code under guessing, racing, time and restarts."""

from __future__ import annotations

import json
import stat
import threading
from collections import Counter
from pathlib import Path

import pytest

from blockhost import boot_clock, codes
from blockhost.codes import ALPHABET, MAX_ATTEMPTS, Outcome
from blockhost.errors import CodeError

pytestmark = pytest.mark.usefixtures("root")


def wrong(code: str) -> str:
    return ("A" if code[0] != "A" else "B") + code[1:]


def test_code_has_the_alphabet_and_mode(root: Path) -> None:
    code = codes.issue()
    assert len(code.code) == 8
    assert set(code.code) <= set(ALPHABET)
    assert len(ALPHABET) == 31
    assert stat.S_IMODE((root / "run/blockhost/otp.json").stat().st_mode) == 0o600


def test_right_code_is_accepted_once() -> None:
    code = codes.issue().code
    assert codes.verify(code) is Outcome.ACCEPTED
    assert codes.verify(code) is Outcome.USED


@pytest.mark.parametrize("change", [str.lower, lambda c: f" {c[:4]}-{c[4:]} ", " ".join])
def test_case_spaces_and_dashes_are_ignored(change: object) -> None:
    code = codes.issue().code
    assert codes.verify(change(code)) is Outcome.ACCEPTED  # type: ignore[operator]


@pytest.mark.parametrize("guess", ["", "ÄÖÜ", "A" * 10_000, "\x00", "💥"])
def test_strange_guesses_are_wrong_not_errors(guess: str) -> None:
    codes.issue()
    assert codes.verify(guess) is Outcome.WRONG


def test_no_code_no_entry() -> None:
    assert codes.verify("ABCDEFGH") is Outcome.NONE


def test_tenth_wrong_guess_locks_even_the_right_code() -> None:
    code = codes.issue().code
    outcomes = [codes.verify(wrong(code)) for _ in range(MAX_ATTEMPTS)]
    assert outcomes == [Outcome.WRONG] * (MAX_ATTEMPTS - 1) + [Outcome.LOCKED]
    assert codes.verify(code) is Outcome.LOCKED
    assert codes.issue().attempts == 0


def test_right_code_as_the_tenth_guess_is_accepted() -> None:
    code = codes.issue().code
    for _ in range(MAX_ATTEMPTS - 1):
        codes.verify(wrong(code))
    assert codes.verify(code) is Outcome.ACCEPTED


def test_fifty_threads_get_exactly_ten_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    code = codes.issue().code
    compared: list[bytes] = []
    compare = codes.hmac.compare_digest

    def spy(a: bytes, b: bytes) -> bool:
        compared.append(a)
        return compare(a, b)

    monkeypatch.setattr(codes.hmac, "compare_digest", spy)
    outcomes: list[Outcome] = []
    barrier = threading.Barrier(50)

    def guess() -> None:
        barrier.wait()
        outcomes.append(codes.verify(wrong(code)))

    threads = [threading.Thread(target=guess) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(compared) == 10
    assert Counter(outcomes) == {Outcome.WRONG: 9, Outcome.LOCKED: 41}


def test_guess_counts_even_if_we_die_before_comparing(monkeypatch: pytest.MonkeyPatch) -> None:
    code = codes.issue().code

    def die(a: bytes, b: bytes) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(codes.hmac, "compare_digest", die)
    with pytest.raises(KeyboardInterrupt):
        codes.verify(code)
    stored = codes.current()
    assert stored is not None
    assert stored.attempts == 1


def test_expiry_follows_the_boot_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    code = codes.issue(ttl_s=100)
    monkeypatch.setattr(boot_clock, "seconds", lambda: code.created_at + 99)
    assert codes.attempts_left() == MAX_ATTEMPTS
    monkeypatch.setattr(boot_clock, "seconds", lambda: code.created_at + 100)
    assert codes.verify(code.code) is Outcome.EXPIRED


def test_wall_clock_jump_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    code = codes.issue()
    monkeypatch.setattr("time.time", lambda: 4e9)
    assert codes.verify(code.code) is Outcome.ACCEPTED


def test_code_of_another_boot_is_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    code = codes.issue()
    monkeypatch.setattr(boot_clock, "boot_id", lambda: "another boot")
    assert codes.verify(code.code) is Outcome.EXPIRED


def test_damaged_file_lets_nobody_in(root: Path) -> None:
    code = codes.issue().code
    for garbage in ("", "{}", "[]", '{"code": 1}', json.dumps({"code": code})):
        (root / "run/blockhost/otp.json").write_text(garbage)
        assert codes.verify(code) is Outcome.NONE


def test_short_codes_are_refused() -> None:
    with pytest.raises(CodeError, match="too easy"):
        codes.issue(length=5)
