"""The one way to libvirt: `virsh` with every name given as an option's value.

Called by root only (steps and the root agent). The programs of the services go through the agent:
whoever may talk to libvirt is root (see docs/decisions).
"""

from __future__ import annotations

import os
from typing import Any
from xml.etree import ElementTree

from blockhost.command import Completed, probe, run
from blockhost.errors import BlockhostError, CommandFailed
from blockhost.i18n import gettext as _

SYSTEM = "qemu:///system"
TIMEOUT_S = 120.0

#: What libvirt says when the thing is not there, or is so already (libvirt's own messages).
MISSING = (
    "failed to get domain",
    "Domain not found",
    "failed to get pool",
    "failed to get vol",
    "no storage vol",
)
NOT_RUNNING = ("domain is not running",)
RUNNING = ("domain is already running", "already active")


def uri() -> str:
    """Which libvirt; tests bring their own."""
    return os.environ.get("BLOCKHOST_LIBVIRT_URI") or SYSTEM


def virsh(*arguments: str, stdin: str | None = None, timeout: float = TIMEOUT_S) -> str:
    """Run one virsh command; its output.

    Raises:
        CommandFailed: libvirt refused; says why.
    """
    return run(["virsh", "-q", "-c", uri(), *arguments], stdin=stdin, timeout=timeout)


def ask(*arguments: str) -> Completed:
    """Run one virsh command whose failure is an answer."""
    return probe(["virsh", "-q", "-c", uri(), *arguments], timeout=TIMEOUT_S)


def virsh_unless(reasons: tuple[str, ...], *arguments: str) -> bool:
    """Run a command; False when it failed for one of `reasons`, so that nothing was left to do."""
    done = ask(*arguments)
    if done.code == 0:
        return True
    if any(reason.lower() in done.stderr.lower() for reason in reasons):
        return False
    raise CommandFailed("virsh", done.code, done.stderr)


def is_usable() -> bool:
    """Whether libvirt answers."""
    try:
        return ask("version").code == 0
    except CommandFailed:
        return False


def states() -> dict[str, str]:
    """Every defined domain with its state (`running`, `shut off`, …)."""
    found = {}
    for line in virsh("list", "--all").splitlines():
        words = line.split(maxsplit=2)
        if len(words) == 3:
            found[words[1]] = words[2].strip()
    return found


def pools() -> list[str]:
    """The names of all storage pools."""
    return [line.strip() for line in virsh("pool-list", "--all", "--name").splitlines() if line.strip()]


def pool(name: str) -> dict[str, Any] | None:
    """A storage pool: `path`, `is_active`, `is_autostart`; None when it is not defined."""
    done = ask("pool-info", "--pool", name)
    if done.code != 0:
        return None
    facts = {
        key.strip(): value.strip()
        for key, _colon, value in (line.partition(":") for line in done.stdout.splitlines())
    }
    document = ElementTree.fromstring(virsh("pool-dumpxml", "--pool", name))  # noqa: S314  libvirt's own
    return {
        "path": document.findtext("target/path", ""),
        "kind": document.get("type", ""),
        "is_active": facts.get("State") == "running",
        "is_autostart": facts.get("Autostart") == "yes",
    }


def has_volume(pool_name: str, volume: str) -> bool:
    return ask("vol-info", "--vol", volume, "--pool", pool_name).code == 0


def delete_volume(pool_name: str, volume: str) -> None:
    """Remove a volume; a missing one is fine."""
    virsh_unless(MISSING, "vol-delete", "--vol", volume, "--pool", pool_name)


def require_usable() -> None:
    if not is_usable():
        raise BlockhostError(_("libvirt does not answer"), hint="systemctl status libvirtd.socket")
