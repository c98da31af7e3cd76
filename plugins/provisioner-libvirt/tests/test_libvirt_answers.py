"""The provisioner's answers: what is accepted, and what each refusal says."""

from __future__ import annotations

import jsonschema
import pytest

from blockhost.errors import AnswerError
from blockhost.provisioner_libvirt.answers import SCHEMA, LibvirtAnswer, to_form

GOOD = {
    "storage_pool": "blockhost",
    "storage_path": "/var/lib/libvirt/images/blockhost",
    "ip_network": "192.168.1.0/24",
    "ip_start": "192.168.1.100",
    "ip_end": "192.168.1.200",
    "gateway": "192.168.1.1",
    "gc_grace_days": "7",
}


def test_form_and_answer_are_inverse() -> None:
    answer = LibvirtAnswer.from_form(GOOD)
    assert answer.gc_grace_days == 7
    assert to_form(answer.to_session()) == GOOD
    jsonschema.Draft202012Validator(SCHEMA).validate(GOOD)


def test_defaults_fill_what_is_optional() -> None:
    answer = LibvirtAnswer.from_form(
        {key: GOOD[key] for key in ("ip_network", "ip_start", "ip_end", "gateway")}
    )
    assert (answer.storage_pool, answer.gc_grace_days) == ("blockhost", 7)


@pytest.mark.parametrize(
    ("field", "value", "blamed", "message"),
    [
        ("ip_network", "192.168.1.0", "ip_network", "192.168.1.0/32 is too small"),
        ("ip_network", "192.168.1.5/24", "ip_network", "'192.168.1.5/24' is not a network"),
        ("ip_network", "fd00::/64", "ip_network", "'fd00::/64' is not a network"),
        ("ip_network", "192.168.1.0/30", "ip_network", "too small for machines"),
        ("ip_network", "0.0.0.0/0", "ip_network", "too large"),
        ("ip_start", "192.168.1.300", "ip_start", "'192.168.1.300' is not an IPv4 address"),
        ("ip_start", "192.168.2.5", "ip_start", "192.168.2.5 is not in the network 192.168.1.0/24"),
        ("ip_start", "192.168.1.0", "ip_start", "address of the network 192.168.1.0/24 itself"),
        ("ip_start", "192.168.1.201", "ip_end", "192.168.1.201, comes after the last, 192.168.1.200"),
        ("ip_end", "192.168.1.255", "ip_end", "broadcast address of 192.168.1.0/24"),
        ("ip_end", "192.168.1.100\n", None, ""),
        (
            "gateway",
            "192.168.1.150",
            "gateway",
            "192.168.1.150 is inside the range 192.168.1.100 to 192.168.1.200",
        ),
        ("gateway", "10.0.0.1", "gateway", "10.0.0.1 is not in the network"),
        ("gateway", "", "gateway", "'' is not an IPv4 address"),
        ("storage_pool", "-f", "storage_pool", "'-f' is not a pool name"),
        ("storage_pool", "a b", "storage_pool", "'a b' is not a pool name"),
        ("storage_path", "images", "storage_path", "'images' is not a directory for disks"),
        ("storage_path", "/etc", "storage_path", "'/etc' is not a directory for disks"),
        ("storage_path", "/var/lib/../../etc/x", "storage_path", "is not a directory for disks"),
        ("gc_grace_days", "-1", "gc_grace_days", "'-1' is not a number of days; expected 0 to 3650"),
        ("gc_grace_days", "٣", "gc_grace_days", "is not a number of days"),
        ("gc_grace_days", "3651", "gc_grace_days", "'3651' is not a number of days"),
    ],
)
def test_refusals_name_field_and_value(field: str, value: str, blamed: str | None, message: str) -> None:
    form = {**GOOD, field: value}
    if blamed is None:
        assert LibvirtAnswer.from_form(form)
        return
    with pytest.raises(AnswerError) as refusal:
        LibvirtAnswer.from_form(form)
    assert refusal.value.field == blamed
    assert message in str(refusal.value)
