"""What a machine may use of the host: processors, disk, network. Kept by libvirt, in force at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

from blockhost.errors import BlockhostError, CommandFailed
from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt import port_filter
from blockhost.provisioner_libvirt.port import KEY, NAMESPACE, Port, port_of
from blockhost.provisioner_libvirt.virsh import states, virsh

#: Microseconds over which a quota of processor time is dealt out.
PERIOD_US = 100_000
NO_QUOTA = -1
DISK = "vda"


@dataclass(frozen=True, slots=True)
class Limits:
    """None leaves a limit as it is; 0 takes it away."""

    cpu_shares: int | None = None
    #: Percent of all the machine's processors.
    cpu_quota: int | None = None
    kbps_in: int | None = None
    kbps_out: int | None = None
    iops_read: int | None = None
    iops_write: int | None = None

    @classmethod
    def none(cls) -> Limits:
        """Takes every limit away."""
        return cls(0, 0, 0, 0, 0, 0)


def limit(name: str, limits: Limits) -> None:
    """Set a machine's limits, running or not. Repeating it is fine.

    Raises:
        BlockhostError: this host cannot; says which part.
    """
    is_running = states().get(name) == "running"
    scopes = ["--config", *(["--live"] if is_running else [])]
    _limit_disk(name, limits, scopes)
    _limit_network(name, limits, scopes, is_running=is_running)
    _limit_processors(name, limits, is_running=is_running)


def _limit_disk(name: str, limits: Limits, scopes: list[str]) -> None:
    wanted = {"--read-iops-sec": limits.iops_read, "--write-iops-sec": limits.iops_write}
    words = [word for key, value in wanted.items() if value is not None for word in (key, str(value))]
    if words:
        virsh("blkdeviotune", "--domain", name, "--device", DISK, *words, *scopes)


def _limit_network(name: str, limits: Limits, scopes: list[str], *, is_running: bool) -> None:
    if limits.kbps_in is None and limits.kbps_out is None:
        return
    before = stored_port(name)
    port = replace(
        before,
        kbps_in=before.kbps_in if limits.kbps_in is None else limits.kbps_in,
        kbps_out=before.kbps_out if limits.kbps_out is None else limits.kbps_out,
    )
    element = port.element()
    element.tag = "port"  # libvirt adds the namespace, and fails where it is there already
    text = ElementTree.tostring(element, encoding="unicode")
    virsh("metadata", "--domain", name, "--uri", NAMESPACE, "--key", KEY, "--set", text, *scopes)
    if is_running:
        port_filter.apply(port)


def _limit_processors(name: str, limits: Limits, *, is_running: bool) -> None:
    words = []
    if limits.cpu_shares is not None:
        words += ["--set", f"cpu_shares={limits.cpu_shares or default_shares()}"]
    if limits.cpu_quota is not None:
        quota = PERIOD_US * processors(name) * limits.cpu_quota // 100 if limits.cpu_quota else NO_QUOTA
        words += ["--set", f"global_period={PERIOD_US}", "--set", f"global_quota={quota}"]
    if not words:
        return
    # One scope a call: libvirt takes both at once only for a running machine with cgroups.
    virsh("schedinfo", "--domain", name, *words, "--config")
    if is_running:
        try:
            virsh("schedinfo", "--domain", name, *words, "--live")
        except CommandFailed as error:
            if "cgroup" not in error.stderr.lower():
                raise
            if limits.cpu_quota or limits.cpu_shares:
                raise BlockhostError(
                    _("this host cannot limit processors: libvirt has no cgroup controller for them")
                ) from error


def stored_port(name: str) -> Port:
    """The port of a defined machine.

    Raises:
        BlockhostError: it is not one of ours.
    """
    document = ElementTree.fromstring(virsh("dumpxml", "--domain", name, "--inactive"))  # noqa: S314  libvirt's own
    found = port_of(document)
    if found is None:
        raise BlockhostError(_("%(name)s is not a machine of this host's making") % {"name": name})
    return found


def processors(name: str) -> int:
    """How many processors a machine has."""
    document = ElementTree.fromstring(virsh("dumpxml", "--domain", name, "--inactive"))  # noqa: S314  libvirt's own
    return int(document.findtext("vcpu", "1"))


def default_shares() -> int:
    """What a machine without a wish has: 100 in cgroups v2, 1024 in v1 (systemd, CPUWeight=)."""
    return 100 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1024
