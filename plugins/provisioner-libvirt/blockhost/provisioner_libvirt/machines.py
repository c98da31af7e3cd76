"""What is done to one machine, as root. Everything may be repeated; nothing takes a path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt import port_filter
from blockhost.provisioner_libvirt.domain import Domain, disk_volume, seed_volume
from blockhost.provisioner_libvirt.limits import stored_port
from blockhost.provisioner_libvirt.seed import seed_image
from blockhost.provisioner_libvirt.settings import Settings
from blockhost.provisioner_libvirt.virsh import (
    MISSING,
    NOT_RUNNING,
    RUNNING,
    delete_volume,
    states,
    virsh,
    virsh_unless,
)


def start(name: str) -> None:
    """Start a machine, now and whenever the host boots."""
    tap = stored_port(name).tap
    virsh_unless(RUNNING, "start", "--domain", name)
    # libvirt's hook did that. Without it the machine could send whatever it likes.
    if not port_filter.is_applied(tap):
        virsh_unless(NOT_RUNNING, "destroy", "--domain", name)
        raise BlockhostError(
            _("%(name)s had no filter on its port, and was stopped") % {"name": name},
            hint=_("Is /etc/libvirt/hooks/qemu.d/blockhost there? Then: systemctl restart libvirtd"),
        )
    virsh("autostart", "--domain", name)


def shut_down(name: str) -> None:
    """Ask a machine to end; it stays down when the host boots."""
    virsh_unless(MISSING, "autostart", "--domain", name, "--disable")
    virsh_unless(NOT_RUNNING, "shutdown", "--domain", name)


def stop_now(name: str) -> None:
    """End a machine; it stays down when the host boots."""
    virsh_unless(MISSING, "autostart", "--domain", name, "--disable")
    virsh_unless(NOT_RUNNING + MISSING, "destroy", "--domain", name)


def reboot(name: str) -> None:
    virsh("reboot", "--domain", name)


def define(domain: Domain, settings: Settings) -> None:
    """Define a machine, which must use this host's bridge and pool."""
    if domain.bridge != settings.bridge or domain.pool != settings.pool:
        raise BlockhostError(_("a machine of this host uses its bridge and its storage pool"))
    settings.require_own(domain.port)
    virsh("define", "--file", "/dev/stdin", "--validate", stdin=domain.render())


def undefine(name: str, flags: Iterable[str] = ()) -> None:
    virsh_unless(MISSING, "undefine", "--domain", name, *(f"--{flag}" for flag in flags))


def create_disk(name: str, disk_gb: int, settings: Settings) -> None:
    """The disk as an overlay on the template: it costs what the machine writes."""
    _require_undefined(name)
    volume = disk_volume(name)
    delete_volume(settings.pool, volume)
    virsh(
        "vol-create-as", "--pool", settings.pool, "--name", volume, "--capacity", f"{disk_gb}G",
        "--format", "qcow2", "--backing-vol", settings.template, "--backing-vol-format", "qcow2",
    )  # fmt: skip


def write_seed(name: str, files: Mapping[str, str], settings: Settings) -> None:
    """The cloud-init medium, through libvirt: the agent itself writes nowhere near the pool."""
    _require_undefined(name)
    volume = seed_volume(name)
    delete_volume(settings.pool, volume)
    with seed_image(files) as image:
        size = image.stat().st_size
        virsh(
            "vol-create-as", "--pool", settings.pool, "--name", volume,
            "--capacity", f"{size}B", "--format", "raw",
        )  # fmt: skip
        virsh("vol-upload", "--pool", settings.pool, "--vol", volume, "--file", str(image))


def delete_volumes(name: str, settings: Settings) -> None:
    _require_undefined(name)
    for volume in (disk_volume(name), seed_volume(name)):
        delete_volume(settings.pool, volume)


def _require_undefined(name: str) -> None:
    """A machine's disk is only replaced or removed while no machine has it."""
    if name in states():
        raise BlockhostError(_("%(name)s is defined; its volumes stay") % {"name": name})
