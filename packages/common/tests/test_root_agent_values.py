"""The allow-list: each type takes what is right and refuses everything near it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blockhost.errors import RootAgentError
from blockhost.root_agent import values
from blockhost.root_agent.action import Action, action

ETH = "0x" + "1" * 40
REFUSED: dict[str, list[Any]] = {
    "HostAddress": [
        "2001:db8::1", "2001:db8::1/64", "2001:db8::1/128\n", "2001:db8::1/128 dev eth0", "ff02::1/128",
        "::1/128", "fe80::1/128", "::/128", "192.0.2.1/128", "::ffff:192.0.2.1/128", "fe80::1%eth0/128",
        "-h/128", "", 1, None,
    ],
    "BridgePort": ["eth0", "br", "br0\n", "br0 ", "br0/../x", "-br0", "br00000", "lo", "", 0, ["br0"]],
    "VmName": ["-a", "A", "a_b", "a b", "a\n", "a" * 65, "", "..", "a/b", "ä", True, {}],
    "Port": [0, 65536, -1, "22", 22.0, True, None, 2**70],
    "Protocol": ["TCP", "tcp\n", "icmp", "", 6],
    "Comment": ['a"b', "a\nb", "", "-x", "a;b", "a" * 65, "{ }"],
    "WalletName": ["admin", "server", "dev", "broker", "-x", "A", "", "../x", "a" * 33, 1],
    "PathPrefix": [
        "admin", "/", "/wizard", "/api/x", "/login", "/a/../b", "/A", "/a b", "/a;", "/a\n", "//a", "/a/", 1,
    ],
    "HostName": ["-a", "a-", "A", "a..b", "a_b", ".a", "a.", "a" * 65, "a\n", "", "a b", 1],
    "Address": ["0x1", "0x" + "g" * 40, "SHA256:" + "a" * 42, "0x" + "1" * 40 + "\n", "", 1],
    "KeyFileName": [
        "/etc/shadow", "../x.key", "/etc/blockhost/../x.key", "x.KEY", "a/b.key", ".key", "x.key\n",
    ],
    "AddressBook": [
        [], "x", {"Admin": {"address": ETH}}, {"a": {}}, {"a": {"address": "x"}}, {"a": ETH},
        {"a": {"address": ETH, "more": 1}}, {"a": {"address": ETH, "keyfile": "/etc/passwd"}},
        {f"a{n}": {"address": ETH} for n in range(257)},
    ],
}  # fmt: skip

ACCEPTED: dict[str, list[tuple[Any, Any]]] = {
    "HostAddress": [("2001:DB8:0::1/128", "2001:db8::1/128")],
    "BridgePort": [("br0", "br0"), ("vmbr12", "vmbr12")],
    "VmName": [("blockhost-001", "blockhost-001"), ("a" * 64, "a" * 64)],
    "Port": [(1, 1), (65535, 65535)],
    "Comment": [("knock: vm 1", "knock: vm 1")],
    "WalletName": [("hot", "hot")],
    "PathPrefix": [("/ops", "/ops"), ("/a/b_c", "/a/b_c")],
    "HostName": [("host-1.example.org", "host-1.example.org")],
    "AddressBook": [
        ({"admin": {"address": "SHA256:" + "a" * 43}}, {"admin": {"address": "SHA256:" + "a" * 43}})
    ],
}


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, list_ in REFUSED.items() for value in list_]
)
def test_refused(kind: str, value: Any) -> None:
    with pytest.raises(ValueError, match="expected") as refusal:
        getattr(values, kind)(value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("kind", "given_", "kept"), [(k, *pair) for k, pairs in ACCEPTED.items() for pair in pairs]
)
def test_accepted(kind: str, given_: Any, kept: Any) -> None:
    assert getattr(values, kind)(given_) == kept


TEXTS = [
    values.HostAddress, values.BridgePort, values.VmName, values.Protocol, values.WalletName,
    values.PathPrefix, values.HostName, values.Address, values.KeyFileName,
]  # fmt: skip


@settings(deadline=None, max_examples=500, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(TEXTS),
    st.one_of(st.text(max_size=70), st.from_regex(r"[-a-z0-9/.:]{1,40}\n?", fullmatch=True)),
)
def test_what_is_accepted_is_one_harmless_argument(kind: type[values.Text], text: str) -> None:
    try:
        value = kind(text)
    except ValueError:
        return
    assert value.isascii()
    assert not value.startswith("-")
    assert not set(value) & set(" \t\n\0;|&$`'\"\\<>(){}*?!~#")
    assert ".." not in value.split("/")


def test_parameter_without_an_allow_list_is_no_action() -> None:
    for annotation in (str, int, dict, "str", "Any"):

        def loose(name) -> None:  # type: ignore[no-untyped-def]
            """Takes anything."""

        loose.__annotations__["name"] = annotation
        with pytest.raises(TypeError, match=r"does not restrict|no type"):
            action(loose)

    def many(*names: values.VmName) -> None:
        """Takes any number."""

    with pytest.raises(TypeError):
        action(many)


def test_unknown_missing_and_wrong_parameters_are_named() -> None:
    @action
    def one(port: values.Port, name: values.VmName | None = None) -> None:
        """Takes one, or two."""

    assert isinstance(one, Action)
    assert one.build({"port": 1}) == {"port": 1}
    for params, message in (
        ({}, "missing parameter port"),
        ({"port": 1, "prot": 2}, "unknown parameter prot"),
        ({"port": "1"}, "port: expected a whole number"),
        ({"port": 1, "name": None}, "name: expected"),
    ):
        with pytest.raises(RootAgentError, match=message):
            one.build(params)
