"""A virtual machine as a typed record, and its domain XML both ways.

XML is made from the record by ElementTree, never from text. `parse` accepts exactly what `render`
makes: it reads the record out of a document, renders it again and compares, so a document with
anything else in it (a host device, another emulator, a file of the host) is refused whole.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from xml.etree import ElementTree

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt.port import Port, port_of

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
POOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
BRIDGE = re.compile(r"(?:br|vmbr|virbr)[0-9]{1,4}")
ACCELERATORS = ("kvm", "qemu")
MOST_CPUS, LEAST_MEMORY_MB, MOST_MEMORY_MB = 64, 128, 1024 * 1024

_UUIDS = uuid.UUID("6f1d1c2e-8a51-4f0e-9a5e-1c0d5a3d7b11")
MOST_BYTES = 16 * 1024


def disk_volume(name: str) -> str:
    """The volume that holds a machine's disk."""
    return f"{name}.qcow2"


def seed_volume(name: str) -> str:
    """The volume that holds a machine's cloud-init seed."""
    return f"{name}-seed.iso"


@dataclass(frozen=True, slots=True)
class Domain:
    """Everything that differs between two machines of this host. Making one checks it."""

    name: str
    vcpus: int
    memory_mb: int
    pool: str
    bridge: str
    port: Port
    #: `kvm` where the processor really helps, else `qemu` (emulation).
    accelerator: str

    def __post_init__(self) -> None:
        for value, pattern, what in (
            (self.name, NAME, _("name")),
            (self.pool, POOL, _("storage pool")),
            (self.bridge, BRIDGE, _("bridge")),
        ):
            if not pattern.fullmatch(value):
                raise BlockhostError(
                    _("domain: %(value)r is not a %(what)s") % {"value": value, "what": what}
                )
        if not 1 <= self.vcpus <= MOST_CPUS:
            raise BlockhostError(
                _("domain: expected 1 to %(most_cpus)s processors, got %(vcpus)s")
                % {"most_cpus": MOST_CPUS, "vcpus": self.vcpus}
            )
        if not LEAST_MEMORY_MB <= self.memory_mb <= MOST_MEMORY_MB:
            raise BlockhostError(
                _("domain: expected at least %(least_memory_mb)s MB of memory, got %(memory_mb)s")
                % {"least_memory_mb": LEAST_MEMORY_MB, "memory_mb": self.memory_mb}
            )
        if self.accelerator not in ACCELERATORS:
            raise BlockhostError(
                _("domain: expected kvm or qemu, got %(accelerator)r") % {"accelerator": self.accelerator}
            )

    @property
    def uuid(self) -> str:
        """The same for the same machine, so that defining it twice is not an error."""
        return str(uuid.uuid5(_UUIDS, f"{self.name}/{self.port.mac}"))

    def render(self) -> str:
        """The domain XML."""
        return ElementTree.tostring(_domain(self), encoding="unicode")

    @classmethod
    def parse(cls, xml: str) -> Domain:
        """The record that `xml` was rendered from.

        Raises:
            BlockhostError: it is not exactly what `render` makes.
        """
        # No document type: entities are the one thing that the parser would expand.
        if len(xml) > MOST_BYTES or "<!" in xml or "<?" in xml:
            raise BlockhostError(_("domain: not the XML of a machine of this host"))
        try:
            root = ElementTree.fromstring(xml)  # noqa: S314  no entity can be in it
            port = port_of(root)
            if port is None:
                raise ValueError("no port")
            domain = cls(
                name=root.findtext("name", ""),
                vcpus=int(root.findtext("vcpu", "0")),
                memory_mb=int(root.findtext("memory", "0")),
                pool=_attribute(root, "devices/disk/source", "pool"),
                bridge=_attribute(root, "devices/interface/source", "bridge"),
                port=port,
                accelerator=root.get("type", ""),
            )
            is_same = _canonical(domain.render()) == _canonical(xml)
        except (ElementTree.ParseError, ValueError, RecursionError) as error:
            raise BlockhostError(_("domain: not the XML of a machine of this host")) from error
        if not is_same:
            raise BlockhostError(_("domain: it holds more than a machine of this host needs"))
        return domain


def _domain(record: Domain) -> ElementTree.Element:
    root = ElementTree.Element("domain", type=record.accelerator)
    _text(root, "name", record.name)
    _text(root, "uuid", record.uuid)
    _add(root, "metadata").append(record.port.element())
    _text(root, "memory", str(record.memory_mb), unit="MiB")
    _text(root, "vcpu", str(record.vcpus))
    system = _add(root, "os")
    _text(system, "type", "hvm", arch="x86_64", machine="q35")
    _add(system, "boot", dev="hd")
    features = _add(root, "features")
    _add(features, "acpi")
    _add(features, "apic")
    if record.accelerator == "kvm":
        _add(root, "cpu", mode="host-passthrough")
    else:
        # QEMU's translation cache defaults to 1 GiB, which no small guest is worth.
        _text(_add(features, "tcg"), "tb-cache", "256", unit="MiB")
        _add(root, "cpu", mode="maximum")
    _add(root, "clock", offset="utc")
    for event in ("on_poweroff", "on_crash"):
        _text(root, event, "destroy")
    _text(root, "on_reboot", "restart")
    _devices(_add(root, "devices"), record)
    return root


def _devices(devices: ElementTree.Element, record: Domain) -> None:
    disk = _add(devices, "disk", type="volume", device="disk")
    _add(disk, "driver", name="qemu", type="qcow2", discard="unmap")
    _add(disk, "source", pool=record.pool, volume=disk_volume(record.name))
    _add(disk, "target", dev="vda", bus="virtio")
    seed = _add(devices, "disk", type="volume", device="cdrom")
    _add(seed, "driver", name="qemu", type="raw")
    _add(seed, "source", pool=record.pool, volume=seed_volume(record.name))
    _add(seed, "target", dev="sda", bus="sata")
    _add(seed, "readonly")
    interface = _add(devices, "interface", type="bridge")
    _add(interface, "mac", address=record.port.mac)
    _add(interface, "source", bridge=record.bridge)
    _add(interface, "target", dev=record.port.tap)
    _add(interface, "model", type="virtio")
    # Machines of different owners share the bridge; they reach the gateway, not each other.
    _add(interface, "port", isolated="yes")
    serial = _add(devices, "serial", type="pty")
    _add(serial, "target", port="0")
    channel = _add(devices, "channel", type="unix")
    _add(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
    _add(devices, "controller", type="usb", model="none")
    # The guest's balloon driver tells every so many seconds how much memory is in use.
    _add(_add(devices, "memballoon", model="virtio"), "stats", period="5")
    random = _add(devices, "rng", model="virtio")
    _text(random, "backend", "/dev/urandom", model="random")


def _add(parent: ElementTree.Element, tag: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, attributes)


def _text(parent: ElementTree.Element, tag: str, text: str, **attributes: str) -> None:
    _add(parent, tag, **attributes).text = text


def _attribute(root: ElementTree.Element, path: str, name: str) -> str:
    found = root.find(path)
    return "" if found is None else found.get(name, "")


def _canonical(xml: str) -> str:
    return ElementTree.canonicalize(xml, strip_text=True)
