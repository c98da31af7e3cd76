"""A change of address in real network namespaces: tried beside the old one, kept or taken back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testing.integration.wire import Wire, silence

STATIC = {
    "method": "static",
    "address": "10.0.0.77",
    "netmask": "24",
    "gateway": "10.0.0.1",
    "dns": "9.9.9.9",
}
NETWORK_FILE = "/etc/systemd/network/50-blockhost-eth0.network"
NOTE = "/var/lib/blockhost/network-change.json"


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    """One leased address and a living gateway."""
    wire = Wire(tmp_path)
    try:
        wire.create()
        wire.on_router("addr add 10.0.0.1/24 dev r0")
        wire.on_host("addr add 10.0.0.9/24 dev eth0 valid_lft 3600 preferred_lft 3600")
        wire.on_host("route add default via 10.0.0.1 dev eth0 proto dhcp src 10.0.0.9 metric 1024")
        yield wire
    finally:
        wire.destroy()


def switch(
    wire: Wire, plan: dict[str, Any], seconds: float = 60, **environment: str
) -> dict[str, Any] | None:
    return wire.call("address:apply_answer", {"plan": plan, "confirm_within_s": seconds}, **environment)


def test_both_addresses_answer_until_it_is_confirmed(wire: Wire) -> None:
    answer = switch(wire, STATIC)
    assert answer is not None
    assert answer["answer"]["address"] == "10.0.0.77"
    assert wire.reaches("10.0.0.9")
    assert wire.reaches("10.0.0.77")
    assert not wire.file(NETWORK_FILE).exists(), "a power cut now must boot with the old address"
    pending = wire.call("address:pending")
    assert pending is not None
    assert 0 < pending["answer"]["seconds_left"] <= 60


def test_confirmed_it_stays_and_the_old_one_goes(wire: Wire) -> None:
    switch(wire, STATIC)
    assert wire.call("address:confirm") == {"answer": True}
    assert wire.addresses("eth0") == ["10.0.0.77/24"]
    (route,) = wire.default_routes()
    assert route["gateway"] == "10.0.0.1"
    assert wire.reaches("10.0.0.77")
    text = wire.file(NETWORK_FILE).read_text()
    for line in ("DHCP=no", "Address=10.0.0.77/24", "Gateway=10.0.0.1", "DNS=9.9.9.9"):
        assert line in text
    assert not wire.file(NOTE).exists()
    assert wire.call("address:confirm") == {"answer": False}
    assert switch(wire, STATIC) == {"answer": None}, "what is in place needs no change"


def test_taken_back_everything_is_as_it_was(wire: Wire) -> None:
    before = wire.picture()
    switch(wire, STATIC)
    assert wire.picture() != before
    assert wire.call("address:revert") == {"answer": True}
    assert wire.picture() == before
    assert not wire.file(NETWORK_FILE).exists()
    assert wire.call("address:revert") == {"answer": False}


def test_unconfirmed_in_time_it_cannot_be_confirmed_any_more(wire: Wire) -> None:
    before = wire.picture()
    switch(wire, STATIC, seconds=0)
    assert wire.call("address:confirm") == {"answer": False}
    assert wire.picture() == before


def test_a_gateway_that_is_not_there_is_refused_and_nothing_changes(wire: Wire) -> None:
    before = wire.picture()
    answer = switch(wire, {**STATIC, "gateway": "10.0.0.200"})
    assert answer is not None
    assert "10.0.0.200 does not answer" in answer["error"]
    assert answer["hint"]
    assert wire.picture() == before
    assert not wire.file(NOTE).exists()


def test_a_silent_router_is_refused_and_nothing_changes(wire: Wire) -> None:
    silence(wire)
    before = wire.picture()
    answer = switch(wire, STATIC)
    assert answer is not None
    assert "does not answer" in answer["error"]
    assert wire.picture() == before


def test_a_start_leaves_what_may_still_be_confirmed(wire: Wire) -> None:
    switch(wire, STATIC)
    assert wire.call("address:recover", {"patient": True}) == {"answer": None}
    assert wire.call("address:confirm") == {"answer": True}


def test_after_a_power_cut_an_unconfirmed_change_is_gone(wire: Wire) -> None:
    """Addresses died with the kernel, so only the note and the files are left to settle."""
    switch(wire, STATIC)
    forget_this_boot(wire)
    before = wire.picture()
    wire.call("address:recover", {"patient": True})
    assert not wire.file(NOTE).exists()
    assert not wire.file(NETWORK_FILE).exists()
    assert wire.picture() == before, "nothing of this boot is put back on account of another one"


def test_after_a_power_cut_a_confirmed_change_is_finished(wire: Wire) -> None:
    switch(wire, STATIC)
    assert wire.call("address:confirm", KILL_RENAME="1") is None  # the note says: keep it
    forget_this_boot(wire)
    wire.call("address:recover", {"patient": True})
    assert "Address=10.0.0.77/24" in wire.file(NETWORK_FILE).read_text()
    assert not wire.file(NOTE).exists()


def forget_this_boot(wire: Wire) -> None:
    note = json.loads(wire.file(NOTE).read_text())
    wire.file(NOTE).write_text(json.dumps({**note, "boot_id": "another boot"}))


def test_on_a_bridge_the_address_goes_to_the_bridge(wire: Wire) -> None:
    assert wire.call("bridge:ensure_bridge") == {"answer": "br0"}
    answer = switch(wire, {**STATIC, "interface": "eth0"})
    assert answer is not None
    assert answer["answer"]["interface"] == "br0"
    assert wire.call("address:confirm") == {"answer": True}
    assert wire.addresses("br0") == ["10.0.0.77/24"]
    text = wire.file("/etc/systemd/network/50-blockhost-br0.network").read_text()
    assert "Address=10.0.0.77/24" in text


def test_an_unknown_interface_is_named(wire: Wire) -> None:
    answer = switch(wire, {**STATIC, "interface": "eth7"})
    assert answer is not None
    assert "eth7" in answer["error"]


def test_dhcp_while_there_is_a_lease_changes_nothing(wire: Wire) -> None:
    before = wire.picture()
    assert switch(wire, {"method": "dhcp"}) == {"answer": None}
    assert wire.picture() == before


def test_dhcp_without_networkd_is_refused_and_leaves_no_trial_file(wire: Wire) -> None:
    wire.on_host("addr flush dev eth0")
    wire.on_host("addr add 10.0.0.9/24 dev eth0")
    before = wire.picture()
    answer = switch(wire, {"method": "dhcp", "interface": "eth0"})
    assert answer is not None
    assert "systemd-networkd does not run" in answer["error"]
    assert wire.picture() == before
    assert list(wire.file("/run/systemd/network").iterdir()) == []


@pytest.mark.timeout(300)
def test_a_crash_anywhere_in_the_switch_is_taken_back_at_the_next_start(wire: Wire) -> None:
    before = wire.picture()
    points = 0
    while switch(wire, STATIC, KILL_IP=str(points + 1)) is None:
        points += 1
        assert "error" not in (wire.call("address:recover") or {"error": "killed"})
        assert wire.picture() == before
        assert wire.reaches("10.0.0.9")
    assert points >= 3
    wire.call("address:revert")
    assert wire.picture() == before


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("variable", "least"), [("KILL_IP", 1), ("KILL_RENAME", 2)])
def test_a_crash_while_it_is_being_kept_is_finished(wire: Wire, variable: str, least: int) -> None:
    points = 0
    while True:
        switch(wire, STATIC)
        if wire.call("address:confirm", **{variable: str(points + 1)}) is not None:
            break
        points += 1
        wire.call("address:recover")
        assert wire.reaches("10.0.0.77") or wire.reaches("10.0.0.9")
        assert not wire.file(NOTE).exists()
        wire.file(NETWORK_FILE).unlink(missing_ok=True)
        wire.on_host("addr flush dev eth0")
        wire.on_host("addr add 10.0.0.9/24 dev eth0 valid_lft 3600 preferred_lft 3600")
        wire.on_host("route add default via 10.0.0.1 dev eth0 proto dhcp src 10.0.0.9 metric 1024")
    assert points >= least
    assert wire.addresses("eth0") == ["10.0.0.77/24"]
