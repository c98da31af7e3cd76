"""Domain XML: made from a record, and read back only when nothing else is in it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blockhost.errors import BlockhostError
from blockhost.provisioner_libvirt.domain import Domain
from blockhost.provisioner_libvirt.port import Port

PORT = Port("52:54:0a:0b:0c:0d", "192.0.2.100", "2001:db8::2")
PLAIN = Domain("blockhost-001", 2, 1024, "blockhost", "br0", PORT, "qemu")

domains = st.builds(
    Domain,
    name=st.from_regex(r"[a-z0-9][a-z0-9-]{0,63}", fullmatch=True),
    vcpus=st.integers(1, 64),
    memory_mb=st.integers(128, 1024 * 1024),
    pool=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True),
    bridge=st.sampled_from(["br0", "vmbr1", "virbr9"]),
    port=st.builds(
        Port,
        mac=st.from_regex(r"52:54(:[0-9a-f]{2}){4}", fullmatch=True),
        ipv4=st.ip_addresses(v=4).map(str),
        ipv6=st.one_of(st.just(""), st.ip_addresses(v=6).map(str)),
        kbps_in=st.integers(0, 10**8),
        kbps_out=st.integers(0, 10**8),
    ),
    accelerator=st.sampled_from(["kvm", "qemu"]),
)


@settings(deadline=None)  # other suites run beside this one
@given(domains)
def test_every_record_survives_its_xml(domain: Domain) -> None:
    assert Domain.parse(domain.render()) == domain


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('<disk type="volume"', '<disk type="file"><source file="/etc/shadow"/></disk><disk type="volume"'),
        ("</devices>", '<hostdev mode="subsystem" type="pci"/></devices>'),
        ("</devices>", "<emulator>/tmp/evil</emulator></devices>"),
        ("</devices>", '<filesystem type="mount"><source dir="/"/><target dir="x"/></filesystem></devices>'),
        ("</domain>", '<commandline xmlns="http://libvirt.org/schemas/domain/qemu/1.0"/></domain>'),
        ('<boot dev="hd" />', '<kernel>/boot/vmlinuz</kernel><boot dev="hd" />'),
        ("blockhost-001.qcow2", "blockhost-002.qcow2"),
        ("blockhost-001-seed.iso", "../../etc/shadow"),
        ('bridge="br0"', 'bridge="eth0"'),
        ('bridge="br0"', 'bridge="br0&#10;"'),
        ('isolated="yes"', 'isolated="no"'),
        ('dev="bhv0a0b0c0d"', 'dev="vnet0"'),
        ('<mac address="52:54:0a:0b:0c:0d"', '<mac address="52:54:0a:0b:0c:0e"'),
        ('ipv4="192.0.2.100"', 'ipv4="192.0.2.100 drop"'),
        ('ipv6="2001:db8::2"', 'ipv6="2001:db8::0002"'),
        ("/dev/urandom", "/dev/sda"),
        ("<vcpu>2", "<vcpu>2.0"),
        ("<vcpu>2", "<vcpu>0"),
        ("<memory", '<memory dumpCore="on"'),
        ('type="qemu"', 'type="xen"'),
        ("<domain", "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/shadow'>]><domain"),
        ("<domain", "<!-- --><domain"),
        ("<domain", "<?xml version='1.0'?><domain"),
        ("</domain>", ""),
        ("<name>blockhost-001", "<name>--help"),
    ],
)
def test_anything_else_in_the_xml_is_refused(old: str, new: str) -> None:
    xml = PLAIN.render()
    assert old in xml
    with pytest.raises(BlockhostError, match=r"^(domain|port): "):
        Domain.parse(xml.replace(old, new))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "-x"},
        {"name": "a\n"},
        {"name": "A"},
        {"vcpus": 0},
        {"memory_mb": 1},
        {"pool": "../x"},
        {"bridge": "br0/../eth0"},
        {"accelerator": "xen"},
    ],
)
def test_a_record_that_is_wrong_cannot_be_made(change: dict[str, object]) -> None:
    values = {"name": "a", "vcpus": 1, "memory_mb": 512, "pool": "p", "bridge": "br0", "port": PORT}
    with pytest.raises(BlockhostError):
        Domain(**{**values, "accelerator": "qemu", **change})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"mac": "00:11:22:33:44:55"},
        {"mac": "52:54:00:00:00:01 drop"},
        {"ipv4": ""},
        {"ipv4": "192.0.2.1/24"},
        {"ipv4": "2001:db8::1"},
        {"ipv6": "2001:db8::1 accept"},
        {"ipv6": "2001:DB8::1"},
        {"ipv6": "192.0.2.1"},
        {"kbps_in": -1},
        {"kbps_out": 10**9},
    ],
)
def test_a_port_that_is_wrong_cannot_be_made(change: dict[str, object]) -> None:
    with pytest.raises(BlockhostError, match="port: "):
        Port(**{"mac": PORT.mac, "ipv4": PORT.ipv4, **change})  # type: ignore[arg-type]


def test_link_local_address_is_the_one_that_linux_makes() -> None:
    assert PORT.link_local == "fe80::5054:aff:fe0b:c0d"
