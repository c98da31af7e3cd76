"""What services may have libvirt do: always to a machine by its name, never with their own XML.

Pool, bridge and template come from `db.yaml`, which only root writes. The XML of `virsh-define` is
read back into the typed record and rendered anew; a document that holds anything else is refused.
"""

from __future__ import annotations

import base64
import re
from typing import Any, Self

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.provisioner_libvirt import guest, limits, machines
from blockhost.provisioner_libvirt.domain import MOST_BYTES, Domain
from blockhost.provisioner_libvirt.metrics import metrics
from blockhost.provisioner_libvirt.owner import change_owner
from blockhost.provisioner_libvirt.port import MOST_KBPS
from blockhost.provisioner_libvirt.seed import MOST_SEED_BYTES
from blockhost.provisioner_libvirt.settings import load_settings
from blockhost.provisioner_libvirt.virsh import states
from blockhost.root_agent.action import action
from blockhost.root_agent.values import Address, Number, Text, VmName


class DomainXml(Text):
    """Domain XML as `Domain.render` makes it."""

    PATTERN = rf"(?s).{{1,{MOST_BYTES}}}"
    EXPECTED = N_("the XML of a machine of this host")
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
    IS_LONG = True

    @classmethod
    def expected(cls) -> str:
        return _("a text of at most %(most)s characters") % {"most": MOST_SEED_BYTES}


class DiskSize(Number):
    """A disk in GB."""

    LOWEST, HIGHEST = 1, 65536


class UndefineFlags(tuple[str, ...]):
    """What to remove with a definition."""

    __slots__ = ()
    ALLOWED = ("managed-save", "nvram", "snapshots-metadata")

    def __new__(cls, value: object) -> Self:
        if not isinstance(value, list) or not all(isinstance(flag, str) for flag in value):
            raise ValueError(_("expected a list of words"))
        if not set(value) <= set(cls.ALLOWED):
            raise ValueError(_("expected only %(names)s") % {"names": ", ".join(cls.ALLOWED)})
        return super().__new__(cls, value)


class Texts(tuple[str, ...]):
    """A list of MOST texts, each of at most LONGEST characters and without control characters."""

    __slots__ = ()
    MOST, LONGEST, FEWEST = 64, 16 * 1024, 1
    CONTROL = r"\x00"

    def __new__(cls, value: object) -> Self:
        if not isinstance(value, list) or not cls.FEWEST <= len(value) <= cls.MOST:
            raise ValueError(
                _("expected a list of %(fewest)s to %(most)s texts")
                % {"fewest": cls.FEWEST, "most": cls.MOST}
            )
        for text in value:
            if not isinstance(text, str) or len(text) > cls.LONGEST or re.search(f"[{cls.CONTROL}]", text):
                raise ValueError(
                    _("expected texts of at most %(longest)s ordinary characters") % {"longest": cls.LONGEST}
                )
        return super().__new__(cls, value)


class GuestCommand(Texts):
    """A program in the guest and its arguments: no meaning to the host."""

    __slots__ = ()


class SshKeys(Texts):
    """Public keys, one a text."""

    __slots__ = ()
    MOST, LONGEST, FEWEST = 16, 2048, 0
    CONTROL = r"\x00-\x1f\x7f"


class VmNames(tuple[str, ...]):
    """Names of machines."""

    __slots__ = ()
    MOST = 200

    def __new__(cls, value: object) -> Self:
        if not isinstance(value, list) or len(value) > cls.MOST:
            raise ValueError(_("expected a list of at most %(most)s names") % {"most": cls.MOST})
        return super().__new__(cls, [str(VmName(name)) for name in value])


class ProcessId(Number):
    LOWEST, HIGHEST = 1, 2**31 - 1


class CredentialId(Number):
    """The number of a credential."""

    LOWEST, HIGHEST = 0, 2**53


class Shares(Number):
    """Weight of a machine's processors against the others'; 0 is the usual one."""

    LOWEST, HIGHEST = 0, 10_000


class Percent(Number):
    """Percent of all of a machine's processors; 0 is no limit."""

    LOWEST, HIGHEST = 0, 100


class Kbps(Number):
    """Kilobits per second; 0 is no limit."""

    LOWEST, HIGHEST = 0, MOST_KBPS


class Iops(Number):
    """Disk operations per second; 0 is no limit."""

    LOWEST, HIGHEST = 0, 10_000_000


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
        raise BlockhostError(_("name and xml are of different machines"))
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


@action(only_reads=True, is_slow=True)
def vm_guest_ping(name: VmName) -> dict[str, Any]:
    """Whether the guest agent in a machine answers."""
    return {"answers": guest.is_answering(name)}


@action(is_slow=True)
def vm_guest_exec(name: VmName, command: GuestCommand) -> dict[str, Any]:
    """Start a program in a machine, as root there; its process id."""
    return {"pid": guest.start_program(name, command)}


@action(only_reads=True, is_slow=True)
def vm_guest_exec_status(name: VmName, pid: ProcessId) -> dict[str, Any]:
    """How a program ended; its output is told once, in base64."""
    ended = guest.look_at_program(name, int(pid))
    return {
        "exit_code": ended.code,
        "stdout": base64.b64encode(ended.stdout).decode(),
        "stderr": base64.b64encode(ended.stderr).decode(),
        "is_cut": ended.is_cut,
    }


@action(resource=MACHINE, is_slow=True)
def vm_owner_set(
    name: VmName, wallet: Address, nft_id: CredentialId, ssh_keys: SshKeys | None = None
) -> dict[str, Any]:
    """Write a machine's owner into the guest; with `ssh_keys`, only those log in from then on."""
    return {"username": change_owner(name, wallet, int(nft_id), None if ssh_keys is None else [*ssh_keys])}


@action(resource=MACHINE, is_slow=True)
def vm_limit(  # noqa: PLR0917  the agent passes them by name
    name: VmName,
    cpu_shares: Shares | None = None,
    cpu_quota: Percent | None = None,
    kbps_in: Kbps | None = None,
    kbps_out: Kbps | None = None,
    iops_read: Iops | None = None,
    iops_write: Iops | None = None,
) -> None:
    """Limit what a machine uses; 0 takes a limit away. Lasts until it is changed."""
    limits.limit(name, limits.Limits(cpu_shares, cpu_quota, kbps_in, kbps_out, iops_read, iops_write))


@action(only_reads=True, is_slow=True)
def vm_metrics(names: VmNames) -> dict[str, Any]:
    """What machines use, many at once; those that libvirt does not know are missing."""
    return {"metrics": metrics(names)}


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
    "vm-guest-ping": vm_guest_ping,
    "vm-guest-exec": vm_guest_exec,
    "vm-guest-exec-status": vm_guest_exec_status,
    "vm-owner-set": vm_owner_set,
    "vm-limit": vm_limit,
    "vm-metrics": vm_metrics,
}
