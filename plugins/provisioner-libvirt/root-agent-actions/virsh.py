"""What services may have libvirt do: always to a machine by its name, never with their own XML.

Pool, bridge and template come from `db.yaml`, which only root writes. The XML of `virsh-define` is
read back into the typed record and rendered anew; a document that holds anything else is refused.
"""

from __future__ import annotations

from typing import Any, Self

from blockhost.errors import BlockhostError
from blockhost.provisioner_libvirt import machines
from blockhost.provisioner_libvirt.domain import MOST_BYTES, Domain
from blockhost.provisioner_libvirt.seed import MOST_SEED_BYTES
from blockhost.provisioner_libvirt.settings import load_settings
from blockhost.provisioner_libvirt.virsh import states
from blockhost.root_agent.action import action
from blockhost.root_agent.values import Number, Text, VmName


class DomainXml(Text):
    """Domain XML as `Domain.render` makes it."""

    PATTERN = rf"(?s).{{1,{MOST_BYTES}}}"
    EXPECTED = "the XML of a machine of this host"
    IS_LONG = True

    @classmethod
    def normal(cls, value: str) -> str:
        try:
            return Domain.parse(value).render()
        except BlockhostError as error:
            raise ValueError(str(error)) from None


class SeedText(Text):
    """One file of a cloud-init seed: data for the guest, no meaning to the host."""

    PATTERN = rf"(?s)[^\x00]{{1,{MOST_SEED_BYTES}}}"
    EXPECTED = f"a text of at most {MOST_SEED_BYTES} characters"
    IS_LONG = True


class DiskSize(Number):
    """A disk in GB."""

    LOWEST, HIGHEST = 1, 65536


class UndefineFlags(tuple[str, ...]):
    """What to remove with a definition."""

    __slots__ = ()
    ALLOWED = ("managed-save", "nvram", "snapshots-metadata")

    def __new__(cls, value: object) -> Self:
        if not isinstance(value, list) or not all(isinstance(flag, str) for flag in value):
            raise ValueError("expected a list of words")
        if not set(value) <= set(cls.ALLOWED):
            raise ValueError(f"expected only {', '.join(cls.ALLOWED)}")
        return super().__new__(cls, value)


MACHINE = "vm/{name}"


@action(resource=MACHINE, is_slow=True)
def virsh_start(name: VmName) -> None:
    """Start a machine; a running one is fine."""
    machines.start(name)


@action(resource=MACHINE, is_slow=True)
def virsh_shutdown(name: VmName) -> None:
    """Ask a machine to shut down; returns at once. A stopped one is fine."""
    machines.shut_down(name)


@action(resource=MACHINE, is_slow=True)
def virsh_destroy(name: VmName) -> None:
    """Stop a machine at once; a stopped or unknown one is fine."""
    machines.stop_now(name)


@action(resource=MACHINE, is_slow=True)
def virsh_reboot(name: VmName) -> None:
    """Ask a machine to restart."""
    machines.reboot(name)


@action(resource="definitions", is_slow=True)
def virsh_define(xml: DomainXml, name: VmName | None = None) -> None:
    """Define a machine on this host's own bridge and pool; the same definition twice is fine."""
    domain = Domain.parse(xml)
    if name is not None and name != domain.name:
        raise BlockhostError("name and xml are of different machines")
    machines.define(domain, load_settings())


@action(resource=MACHINE, is_slow=True)
def virsh_undefine(name: VmName, flags: UndefineFlags | None = None) -> None:
    """Forget a machine's definition; an unknown one is fine."""
    machines.undefine(name, flags or ())


@action(only_reads=True, is_slow=True)
def virsh_list() -> dict[str, Any]:
    """Every machine that libvirt knows, with its state."""
    return {"domains": states()}


@action(resource=MACHINE, is_slow=True)
def vm_disk_create(name: VmName, disk_gb: DiskSize) -> None:
    """Make a machine's disk on the template. One left over from a broken attempt is replaced."""
    machines.create_disk(name, int(disk_gb), load_settings())


@action(resource=MACHINE, is_slow=True)
def vm_seed_write(name: VmName, user_data: SeedText, meta_data: SeedText, network_config: SeedText) -> None:
    """Write the medium that cloud-init reads at a machine's first start."""
    machines.write_seed(
        name,
        {"user-data": str(user_data), "meta-data": str(meta_data), "network-config": str(network_config)},
        load_settings(),
    )


@action(resource=MACHINE, is_slow=True)
def vm_volumes_delete(name: VmName) -> None:
    """Remove a machine's disk and seed; missing ones are fine, those of a defined machine stay."""
    machines.delete_volumes(name, load_settings())


ACTIONS = {
    "virsh-start": virsh_start,
    "virsh-shutdown": virsh_shutdown,
    "virsh-destroy": virsh_destroy,
    "virsh-reboot": virsh_reboot,
    "virsh-define": virsh_define,
    "virsh-undefine": virsh_undefine,
    "virsh-list": virsh_list,
    "vm-disk-create": vm_disk_create,
    "vm-seed-write": vm_seed_write,
    "vm-volumes-delete": vm_volumes_delete,
}
