"""Domain XML: made from a record, and read back only when nothing else is in it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blockhost.errors import BlockhostError
from blockhost.provisioner_libvirt.domain import Domain

PLAIN = Domain("blockhost-001", 2, 1024, "blockhost", "br0", "52:54:00:0a:0b:0c", "qemu")

domains = st.builds(
    Domain,
    name=st.from_regex(r"[a-z0-9][a-z0-9-]{0,63}", fullmatch=True),
    vcpus=st.integers(1, 64),
    memory_mb=st.integers(128, 1024 * 1024),
    pool=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True),
    bridge=st.sampled_from(["br0", "vmbr1", "virbr9"]),
    mac=st.from_regex(r"52:54:00(:[0-9a-f]{2}){3}", fullmatch=True),
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
    with pytest.raises(BlockhostError, match="domain: "):
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
        {"mac": "00:11:22:33:44:55"},
        {"accelerator": "xen"},
    ],
)
def test_a_record_that_is_wrong_cannot_be_made(change: dict[str, object]) -> None:
    values = {"name": "a", "vcpus": 1, "memory_mb": 512, "pool": "p", "bridge": "br0", "mac": PLAIN.mac}
    with pytest.raises(BlockhostError):
        Domain(**{**values, "accelerator": "qemu", **change})  # type: ignore[arg-type]
