"""The network answer: what is accepted, and what is refused with the field's name."""

from __future__ import annotations

from typing import Any

import pytest

from blockhost.errors import AnswerError
from installer.network.address import Method, NetworkPlan, parse_fields

STATIC: dict[str, Any] = {
    "method": "static",
    "address": "192.168.1.20",
    "netmask": "255.255.255.0",
    "gateway": "192.168.1.1",
    "dns": "9.9.9.9, 2620:fe::fe",
}


def test_static_answer_is_typed() -> None:
    plan = NetworkPlan.parse(**STATIC)
    assert (str(plan.address), str(plan.gateway)) == ("192.168.1.20/24", "192.168.1.1")
    assert [str(server) for server in plan.dns] == ["9.9.9.9", "2620:fe::fe"]
    assert NetworkPlan.parse(**plan.to_json()) == plan


@pytest.mark.parametrize(
    "change",
    [
        {"netmask": "24"},
        {"address": "192.168.1.20/24", "netmask": ""},
        {"address": "192.168.1.20/24", "netmask": "24"},
        {"address": "10.0.0.0/31", "netmask": "", "gateway": "10.0.0.1"},
        {"address": "fd00::2/64", "netmask": "", "gateway": "fe80::1"},
        {"gateway": "", "dns": ()},
        {"interface": "enp1s0"},
    ],
)
def test_accepted(change: dict[str, str]) -> None:
    assert NetworkPlan.parse(**{**STATIC, **change}).method is Method.STATIC


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"method": "magic"}, "method"),
        ({"method": ""}, "method"),
        ({"interface": "../etc"}, "interface"),
        ({"interface": "a" * 16}, "interface"),
        ({"interface": "eth0\n"}, None),
        ({"interface": "-a"}, "interface"),
        ({"address": ""}, "address"),
        ({"address": "10.0.0.300"}, "address"),
        ({"address": "192.168.1.20/24", "netmask": "255.255.0.0"}, "netmask"),
        ({"netmask": ""}, "netmask"),
        ({"netmask": "0.0.0.255"}, "netmask"),
        ({"netmask": "255.0.255.0"}, "netmask"),
        ({"netmask": "0"}, "netmask"),
        ({"netmask": "33"}, "netmask"),
        ({"address": "127.0.0.1"}, "address"),
        ({"address": "224.0.0.1"}, "address"),
        ({"address": "0.0.0.0"}, "address"),
        ({"address": "169.254.1.1"}, "address"),
        ({"address": "192.168.1.0"}, "address"),
        ({"address": "192.168.1.255"}, "address"),
        ({"gateway": "192.168.2.1"}, "gateway"),
        ({"gateway": "192.168.1.20"}, "gateway"),
        ({"gateway": "router"}, "gateway"),
        ({"gateway": "fe80::1"}, "gateway"),
        ({"dns": "9.9.9.9;rm"}, "dns"),
    ],
)
def test_refused_with_the_field(change: dict[str, str], field: str | None) -> None:
    if field is None:  # surrounding white space is no fault
        assert NetworkPlan.parse(**{**STATIC, **change}).interface == "eth0"
        return
    with pytest.raises(AnswerError) as caught:
        NetworkPlan.parse(**{**STATIC, **change})
    assert caught.value.field == field


def test_a_session_with_more_keys_is_read() -> None:
    plan = parse_fields({"method": "dhcp", "interface": "", "hostname": "box.example.org"})
    assert plan == NetworkPlan(Method.DHCP)
