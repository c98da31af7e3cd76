"""One source is slowed down; others, and the console, are not."""

from __future__ import annotations

import pytest

from installer.finalize.throttle import FREE_FAILURES, LONGEST_WAIT_S, MAX_SOURCES, Throttle, network


class _Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def _burned(clock: _Clock, source: str, failures: int) -> Throttle:
    throttle = Throttle(clock)
    for _ in range(failures):
        throttle.failed(source)
    return throttle


def test_flood_against_a_spent_code_brings_the_first_wait_only() -> None:
    throttle = Throttle(lambda: 100.0)
    for _ in range(5000):
        throttle.failed("192.0.2.1", compared=False)
    assert 0 < throttle.wait_s("192.0.2.1") <= 5


def test_the_waits_double_up_to_an_hour() -> None:
    clock = _Clock()
    assert _burned(clock, "192.0.2.1", FREE_FAILURES - 1).wait_s("192.0.2.1") == 0
    waits = [_burned(clock, "192.0.2.1", FREE_FAILURES + n).wait_s("192.0.2.1") for n in range(3)]
    assert waits == [5, 10, 20]
    assert _burned(clock, "192.0.2.1", 5000).wait_s("192.0.2.1") == LONGEST_WAIT_S


def test_the_wait_passes_and_success_forgets() -> None:
    clock = _Clock()
    throttle = _burned(clock, "192.0.2.1", FREE_FAILURES)
    assert throttle.wait_s("192.0.2.2") == 0
    clock.now += 5
    assert throttle.wait_s("192.0.2.1") == 0
    throttle.succeeded("192.0.2.1")
    throttle.failed("192.0.2.1")
    assert throttle.wait_s("192.0.2.1") == 0


def test_many_sources_do_not_fill_the_memory() -> None:
    throttle = Throttle()
    for index in range(MAX_SOURCES + 50):
        throttle.failed(f"10.0.{index // 250}.{index % 250}")
    assert len(throttle._failures) == MAX_SOURCES


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("nonsense", "", True),
    ],
)
def test_a_neighbour_is_known_by_what_it_controls(one: str, other: str, *, same: bool) -> None:
    assert (network(one) == network(other)) is same
