"""Each section's rules: what is refused, by which field, and that a form survives the round trip."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockhost.errors import AnswerError
from installer.answers import (
    AdminCommandsAnswer,
    FormRefused,
    Ipv6Answer,
    NetworkAnswer,
    StorageAnswer,
    WalletAnswer,
    values,
)
from installer.answers.form import FormField, FormReader

STATIC = {
    "method": "static",
    "interface": "enp1s0",
    "address": "192.168.7.10",
    "netmask": "255.255.255.0",
    "gateway": "192.168.7.1",
    "dns": "9.9.9.9,2620:fe::fe",
}
WALLET = {"admin_wallet": "SHA256:abc", "admin_signature": "sig", "public_secret": "blockhost-access"}


def refusal(kind: Any, form: dict[str, Any]) -> AnswerError:
    with pytest.raises(AnswerError) as caught:
        kind.from_form(form)
    return caught.value


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        ({"method": ""}, "method", "dhcp or static"),
        ({"method": "DHCP"}, "method", "'DHCP'"),
        ({"interface": "lo"}, "interface", "loopback"),
        ({"interface": "eth0/../x"}, "interface", "enp1s0"),
        ({"interface": ".."}, "interface", "enp1s0"),
        ({"interface": "a" * 16}, "interface", "enp1s0"),
        ({"address": ""}, "address", "nothing was given"),
        ({"address": "10.0.0.300"}, "address", "10.0.0.300"),
        ({"address": "010.0.0.1"}, "address", "010.0.0.1"),
        ({"address": "127.0.0.1"}, "address", "loopback"),
        ({"address": "224.0.0.1"}, "address", "multicast"),
        ({"address": "0.0.0.0"}, "address", "machine"),
        ({"address": "192.168.7.0"}, "address", "network or broadcast"),
        ({"address": "192.168.7.255"}, "address", "network or broadcast"),
        ({"address": "192.168.7.10/16"}, "netmask", "/16"),
        ({"netmask": ""}, "netmask", "255.255.255.0"),
        ({"netmask": "255.0.255.0"}, "netmask", "255.0.255.0"),
        ({"netmask": "0"}, "netmask", "1 to 31"),
        ({"netmask": "32"}, "netmask", "1 to 31"),
        ({"netmask": "0.0.0.0"}, "netmask", "1 to 31"),
        ({"gateway": ""}, "gateway", "nothing was given"),
        ({"gateway": "192.168.8.1"}, "gateway", "inside 192.168.7.0/24"),
        ({"gateway": "192.168.7.0"}, "gateway", "network or broadcast"),
        ({"gateway": "192.168.7.255"}, "gateway", "network or broadcast"),
        ({"gateway": "192.168.7.10"}, "gateway", "host's own"),
        ({"dns": "9.9.9.9,nonsense"}, "dns", "separated by commas"),
        ({"dns": "9.9.9.9,,"}, "dns", "separated by commas"),
        ({"dns": "9.9.9.9, 9.9.9.9"}, "dns", "once"),
        ({"dns": ",".join(f"10.0.0.{n}" for n in range(9))}, "dns", "at most 8"),
        ({"hostname": "-x.example"}, "hostname", "DNS name"),
        ({"hostname": "a..b"}, "hostname", "DNS name"),
        ({"hostname": "x" * 64 + ".org"}, "hostname", "DNS name"),
        ({"hostname": ".".join(["x" * 60] * 5)}, "hostname", "DNS name"),
        ({"hostname": "192.168.7.10"}, "hostname", "not an address"),
        ({"hostname": "ä.example"}, "hostname", "xn--4ca.example"),
        ({"hostname": "a_b.example"}, "hostname", "DNS name"),
        ({"acme_email": "nobody"}, "acme_email", "admin@example.org"),
        ({"acme_email": "a..b@example.org"}, "acme_email", "admin@example.org"),
        ({"acme_email": "a@localhost"}, "acme_email", "admin@example.org"),
        ({"acme_email": "a@example.org\nBcc: x"}, "acme_email", "U+000A"),
        ({"gateway": {"a": 1}}, "gateway", "got dict"),
        ({"gateway": "\u202e1.7.861.291"}, "gateway", "U+202E"),
        ({"dns": "x" * 2000}, "dns", "at most 1024"),
    ],
)
def test_bad_network_is_explained(change: dict[str, Any], field: str, expected: str) -> None:
    error = refusal(NetworkAnswer, {**STATIC, **change})
    assert error.field == field
    assert str(error).startswith(f"{field}: ")
    assert expected in str(error)


@pytest.mark.parametrize("field", ["address", "netmask", "gateway", "dns"])
def test_static_fields_contradict_dhcp(field: str) -> None:
    error = refusal(NetworkAnswer, {"method": "dhcp", field: STATIC[field]})
    assert error.field == field
    assert "method dhcp" in str(error)


def test_all_faults_come_together() -> None:
    error = refusal(NetworkAnswer, {"method": "static", "dns": "x", "acme_email": "x"})
    assert isinstance(error, FormRefused)
    assert {problem.field for problem in error.problems} == {"address", "gateway", "dns", "acme_email"}


@pytest.mark.parametrize("mask", ["255.255.255.0", "24", "/24", 24])
def test_netmask_in_any_spelling(mask: object) -> None:
    assert NetworkAnswer.from_form({**STATIC, "netmask": mask}).netmask == "255.255.255.0"


def test_prefix_behind_the_address() -> None:
    form = {**STATIC, "address": "192.168.7.10/24"}
    del form["netmask"]
    assert NetworkAnswer.from_form(form) == NetworkAnswer.from_form(STATIC)


def test_point_to_point_network_has_no_broadcast() -> None:
    form = {**STATIC, "address": "192.168.7.0", "netmask": "31"}
    assert NetworkAnswer.from_form(form).netmask == "255.255.255.254"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("sda", "/dev/sda"),
        ("/dev/vdb", "/dev/vdb"),
        (" nvme0n1 ", "/dev/nvme0n1"),
        ("mmcblk0", "/dev/mmcblk0"),
    ],
)
def test_disk_in_any_spelling(given: str, kept: str) -> None:
    answer = StorageAnswer.from_form({"disk": given})
    assert answer.to_session() == {"selected_disk": kept}


@pytest.mark.parametrize(
    "disk",
    [
        "",
        "sda1",
        "/dev/nvme0n1p2",
        "/dev/../etc/passwd",
        "loop0",
        "sr0",
        "/dev/disk/by-id/x",
        "sda;reboot",
        "dev/sda",
    ],
)
def test_bad_disk_is_refused(disk: str) -> None:
    assert refusal(StorageAnswer, {"disk": disk}).field == "disk"


def test_partition_names_its_disk() -> None:
    assert "/dev/nvme0n1," in str(refusal(StorageAnswer, {"disk": "nvme0n1p2"}))


@pytest.mark.parametrize(
    ("form", "field", "expected"),
    [
        ({}, "ipv6_mode", "broker or manual or none"),
        ({"ipv6_mode": "auto"}, "ipv6_mode", "'auto'"),
        ({"ipv6_mode": "manual"}, "manual_prefix", "nothing was given"),
        ({"ipv6_mode": "manual", "manual_prefix": "2001:db8::1/64"}, "manual_prefix", "host bits"),
        ({"ipv6_mode": "manual", "manual_prefix": "2001:db8::"}, "manual_prefix", "/64"),
        ({"ipv6_mode": "manual", "manual_prefix": "2001:db8::/47"}, "manual_prefix", "48 to 120"),
        ({"ipv6_mode": "manual", "manual_prefix": "2001:db8::/121"}, "manual_prefix", "48 to 120"),
        ({"ipv6_mode": "manual", "manual_prefix": "fe80::/64"}, "manual_prefix", "global"),
        ({"ipv6_mode": "manual", "manual_prefix": "ff02::/64"}, "manual_prefix", "global"),
        ({"ipv6_mode": "manual", "manual_prefix": "10.0.0.0/64"}, "manual_prefix", "IPv6"),
        ({"ipv6_mode": "manual", "manual_prefix": "fe80::%eth0/64"}, "manual_prefix", "IPv6"),
        ({"ipv6_mode": "none", "manual_prefix": "2001:db8::/64"}, "manual_prefix", "manual"),
        ({"ipv6_mode": "broker", "manual_prefix": "2001:db8::/64"}, "manual_prefix", "manual"),
        ({"ipv6_mode": "none", "broker_registry": "0xabc"}, "broker_registry", "broker"),
        ({"ipv6_mode": "broker", "broker_registry": "a b"}, "broker_registry", "spaces"),
        ({"ipv6_mode": "none", "allocation_size": "47"}, "allocation_size", "48 to 120"),
        ({"ipv6_mode": "none", "allocation_size": "121"}, "allocation_size", "48 to 120"),
        ({"ipv6_mode": "none", "allocation_size": "6 4"}, "allocation_size", "48 to 120"),
        ({"ipv6_mode": "none", "allocation_size": "٦٤"}, "allocation_size", "48 to 120"),
        ({"ipv6_mode": "none", "allocation_size": "64.0"}, "allocation_size", "48 to 120"),
    ],
)
def test_bad_ipv6_is_explained(form: dict[str, str], field: str, expected: str) -> None:
    error = refusal(Ipv6Answer, form)
    assert (error.field, expected in str(error)) == (field, True), str(error)


def test_ipv6_session_has_the_contract_s_keys() -> None:
    answer = Ipv6Answer.from_form({"ipv6_mode": "manual", "manual_prefix": "2001:DB8:1::/56"})
    assert answer.to_session()["ipv6"] == {
        "mode": "manual",
        "prefix": "2001:db8:1::/56",
        "broker_registry": "",
        "broker_node": "",
        "wg_config": "",
        "allocation_size": 64,
    }


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"admin_enabled": ""}, "admin_enabled"),
        ({"admin_enabled": "maybe"}, "admin_enabled"),
        ({"knock_ports": ""}, "knock_ports"),
        ({"knock_ports": "0"}, "knock_ports"),
        ({"knock_ports": "65536"}, "knock_ports"),
        ({"knock_ports": "22,22"}, "knock_ports"),
        ({"knock_ports": "22;443"}, "knock_ports"),
        ({"knock_ports": "22-25"}, "knock_ports"),
        ({"knock_timeout": "29"}, "knock_timeout"),
        ({"knock_timeout": "3601"}, "knock_timeout"),
        ({"knock_timeout": "-60"}, "knock_timeout"),
        ({"knock_command": "a b"}, "knock_command"),
        ({"knock_command": "-rf"}, "knock_command"),
        ({"destination_mode": "Self!"}, "destination_mode"),
    ],
)
def test_bad_admin_commands_are_refused(change: dict[str, str], field: str) -> None:
    form = {"admin_enabled": "yes", "knock_ports": "22", "knock_timeout": "60", **change}
    assert refusal(AdminCommandsAnswer, form).field == field


def test_commands_that_are_off_need_no_ports() -> None:
    session = AdminCommandsAnswer.from_form({"admin_enabled": "no"}).to_session()["admin_commands"]
    assert session["enabled"] is False
    assert session["knock_ports"] == []


@pytest.mark.parametrize("field", list(WALLET))
def test_wallet_needs_all_three(field: str) -> None:
    assert refusal(WalletAnswer, {**WALLET, field: "  "}).field == field


@pytest.mark.parametrize("signature", ["sig\x00nature-hunter2", "hunter2" * 2000])
def test_a_refused_signature_is_never_repeated(signature: str) -> None:
    error = refusal(WalletAnswer, {**WALLET, "admin_signature": signature})
    assert "hunter2" not in str(error)
    assert "hunter2" not in repr(WalletAnswer.from_form({**WALLET, "admin_signature": "hunter2"}))


def test_a_secret_that_a_parser_refuses_is_not_repeated() -> None:
    read = FormReader({"pin": "hunter2"}, [FormField("pin", {}, secret=True)])
    read.required("pin", values.integer(0, 9))
    with pytest.raises(FormRefused) as caught:
        read.finish()
    assert str(caught.value) == "pin: expected a whole number from 0 to 9"


def test_a_pasted_signature_gets_unix_line_ends() -> None:
    answer = WalletAnswer.from_form({**WALLET, "admin_signature": "-----BEGIN\r\nabc\r\n-----END\r\n"})
    assert answer.signature.reveal() == "-----BEGIN\nabc\n-----END"


@st.composite
def static_forms(draw: st.DrawFn) -> dict[str, str]:
    network = draw(
        st.builds(
            lambda host, length: IPv4Network((host, length), strict=False),
            st.integers(0x0B000000, 0x7E000000),
            st.integers(8, 29),
        )
    )
    last = network.num_addresses - 2
    own, gateway = draw(st.lists(st.integers(1, last), min_size=2, max_size=2, unique=True))
    dns = draw(st.lists(st.ip_addresses(v=4, network="9.0.0.0/8"), max_size=8, unique=True))
    mask = draw(st.sampled_from([str(network.netmask), str(network.prefixlen), f"/{network.prefixlen}"]))
    return {
        "method": "static",
        "address": str(network[own]),
        "netmask": mask,
        "gateway": str(network[gateway]),
        "dns": ", ".join(str(server) for server in dns),
        "hostname": draw(st.sampled_from(["", "host.example.org", "HOST.Example.org."])),
    }


JUNK = st.one_of(st.text(max_size=40), st.integers(), st.none(), st.booleans(), st.lists(st.text(max_size=5)))
FORMS = {
    NetworkAnswer: st.one_of(
        static_forms(),
        st.fixed_dictionaries({"method": st.just("dhcp"), "interface": st.sampled_from(["", "br0"])}),
    ),
    StorageAnswer: st.fixed_dictionaries(
        {"disk": st.from_regex(r"(/dev/)?(sd[a-z]|nvme[0-9]n[0-9])", fullmatch=True)}
    ),
    Ipv6Answer: st.one_of(
        st.fixed_dictionaries(
            {
                "ipv6_mode": st.sampled_from(["none", "broker"]),
                "allocation_size": st.integers(48, 120).map(str),
            }
        ),
        st.fixed_dictionaries(
            {
                "ipv6_mode": st.just("manual"),
                "manual_prefix": st.integers(48, 120).map(lambda length: f"2001:db8::/{length}"),
            }
        ),
    ),
    AdminCommandsAnswer: st.fixed_dictionaries(
        {
            "admin_enabled": st.sampled_from(["yes", "no"]),
            "knock_ports": st.lists(st.integers(1, 65535), min_size=1, max_size=8, unique=True).map(
                lambda ports: ",".join(map(str, ports))
            ),
            "knock_timeout": st.integers(30, 3600).map(str),
        }
    ),
    WalletAnswer: st.fixed_dictionaries(
        {
            "admin_wallet": st.from_regex(r"[!-~]{1,64}", fullmatch=True),
            "admin_signature": st.from_regex(r"[!-~]{1,64}(\n[!-~]{1,64}){0,3}", fullmatch=True),
            "public_secret": st.from_regex(r"[!-~]{1,32}", fullmatch=True),
        }
    ),
}


@pytest.mark.parametrize("kind", FORMS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_form_round_trip(kind: Any, data: st.DataObject) -> None:
    answer = kind.from_form(data.draw(FORMS[kind]))
    assert kind.from_form(answer.to_form()) == answer
    assert kind.from_session(answer.to_session()) == answer


@pytest.mark.parametrize("kind", FORMS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_any_form_is_read_or_refused(kind: Any, data: st.DataObject) -> None:
    names = [known.name for known in kind.FIELDS]
    form = data.draw(
        st.one_of(FORMS[kind], st.just({})).flatmap(
            lambda base: st.dictionaries(st.sampled_from(names), JUNK).map(lambda noise: {**base, **noise})
        )
    )
    try:
        answer = kind.from_form(form)
    except AnswerError as error:
        assert error.field in names
    else:
        assert kind.from_form(answer.to_form()) == answer
