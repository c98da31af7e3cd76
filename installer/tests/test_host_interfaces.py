"""Interfaces through either backend, and the order in which addresses are shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from installer.host import connectivity, interfaces
from installer.host.connectivity import Reach
from installer.host.interfaces import Interface, Kind

LINKS = [
    {"ifname": "lo", "link_type": "loopback", "flags": ["UP"], "addr_info": []},
    {
        "ifname": "wlan0",
        "link_type": "ether",
        "address": "02:00:00:00:00:02",
        "flags": ["UP"],
        "addr_info": [{"local": "169.254.3.4", "prefixlen": 16}],
    },
    {
        "ifname": "enp1s0",
        "link_type": "ether",
        "address": "02:00:00:00:00:01",
        "flags": ["UP", "LOWER_UP"],
        "addr_info": [{"local": "192.0.2.10", "prefixlen": 24}, {"local": "fe80::1", "prefixlen": 64}],
    },
    {"ifname": "tap0", "link_type": "ether", "flags": [], "linkinfo": {"info_kind": "tun"}, "addr_info": []},
    {"ifname": "br9", "link_type": "ether", "flags": ["UP"], "linkinfo": {"info_kind": "bridge"}},
]
ROUTES = [{"dst": "default", "gateway": "192.0.2.1", "dev": "enp1s0"}]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for `ip` that knows LINKS and ROUTES."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "links").write_text(json.dumps(LINKS))
    (tmp_path / "routes").write_text(json.dumps(ROUTES))
    (programs / "ip").write_text(
        f'#!/bin/sh\ncase "$*" in\n"-j -4 route show default") cat {tmp_path}/routes ;;\n'
        f'*route*) echo "[]" ;;\n*addr*) cat {tmp_path}/links ;;\n*) exit 9 ;;\nesac\n'
    )
    (programs / "ip").chmod(0o755)
    monkeypatch.setenv("BLOCKHOST_ROOT", str(tmp_path))
    monkeypatch.setenv("BLOCKHOST_PATH", f"{programs}:/usr/bin:/bin")
    (tmp_path / "sys/class/net/wlan0/phy80211").mkdir(parents=True)
    return tmp_path


def test_ip_backend_tells_all(machine: Path) -> None:
    found = {interface.name: interface for interface in interfaces.interfaces()}
    assert set(found) == {"wlan0", "enp1s0", "tap0", "br9"}
    assert found["enp1s0"] == Interface(
        "enp1s0", "02:00:00:00:00:01", Kind.WIRED, True, ("192.0.2.10/24", "fe80::1/64"), "192.0.2.1"
    )
    assert [found[name].kind for name in ("wlan0", "tap0", "br9")] == [
        Kind.WIRELESS,
        Kind.VIRTUAL,
        Kind.BRIDGE,
    ]
    assert found["tap0"].carrier is None
    assert found["wlan0"].carrier is False


def test_the_way_out_comes_first_and_link_local_last(machine: Path) -> None:
    assert interfaces.interfaces()[0].name == "enp1s0"
    assert interfaces.own_addresses() == ["192.0.2.10", "169.254.3.4", "fe80::1"]


class FakeNetifaces:
    """netifaces 0.11 as it answers on Debian, with both ways of writing an IPv6 mask."""

    AF_INET, AF_INET6, AF_LINK = 2, 10, 17

    def interfaces(self) -> list[str]:
        return ["lo", "eth0"]

    def gateways(self) -> dict[Any, Any]:
        return {"default": {2: ("192.0.2.1", "eth0")}, 2: [("192.0.2.1", "eth0", True)]}

    def ifaddresses(self, name: str) -> dict[int, list[dict[str, str]]]:
        return {
            17: [{"addr": "02:00:00:00:00:01"}],
            2: [{"addr": "192.0.2.10", "netmask": "255.255.255.0"}],
            10: [
                {"addr": "fd00::2", "netmask": "ffff:ffff:ffff:ffff::/64"},
                {"addr": "fe80::1%eth0", "netmask": "ffff:ffff:ffff:ffff::"},
            ],
        }


def test_netifaces_backend_gives_the_same_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BLOCKHOST_ROOT", raising=False)
    monkeypatch.setattr(interfaces, "netifaces", FakeNetifaces())
    (found,) = interfaces.interfaces()
    assert found.addresses == ("192.0.2.10/24", "fd00::2/64", "fe80::1/64")
    assert (found.name, found.mac, found.gateway) == ("eth0", "02:00:00:00:00:01", "192.0.2.1")


def test_without_netifaces_ip_answers(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BLOCKHOST_ROOT")
    monkeypatch.setattr(interfaces, "netifaces", None)
    assert "enp1s0" in {interface.name for interface in interfaces.interfaces()}


def test_both_backends_agree_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BLOCKHOST_ROOT", raising=False)
    monkeypatch.delenv("BLOCKHOST_PATH", raising=False)

    def picture() -> dict[str, tuple[object, ...]]:
        return {i.name: (i.mac, i.kind, set(i.addresses), i.carrier) for i in interfaces.interfaces()}

    one = picture()
    monkeypatch.setattr(interfaces, "netifaces", None)
    assert picture() == one


@pytest.mark.parametrize(
    ("links", "answers", "reach"),
    [
        (LINKS, True, Reach.GATEWAY),
        (LINKS, False, Reach.LOCAL),
        ([LINKS[1]], False, Reach.LINK_LOCAL),
        ([LINKS[0]], False, Reach.NONE),
    ],
)
def test_reach(
    machine: Path, monkeypatch: pytest.MonkeyPatch, links: object, answers: bool, reach: Reach
) -> None:
    (machine / "links").write_text(json.dumps(links))
    monkeypatch.setattr("installer.network.gateway.answers", lambda *_args, **_options: answers)
    found = connectivity.connectivity()
    assert found.connectivity is reach
    json.dumps(found.to_json())
