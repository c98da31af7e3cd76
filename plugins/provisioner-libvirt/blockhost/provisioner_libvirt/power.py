"""Starting, stopping and looking at machines that exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from blockhost import root_agent
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt.create import dismantle, exclusive
from blockhost.provisioner_libvirt.domain import NAME
from blockhost.provisioner_libvirt.settings import load_settings
from blockhost.vm_db import Status, VMDatabase, VmRecord

#: libvirt's words for a machine whose processors run.
RUNNING = frozenset({"running", "idle", "in shutdown"})
#: Machines in one call of the agent: its answer has 64 KiB.
AT_ONCE = 100
STOPPED = frozenset({"shut off", "paused", "pmsuspended", "crashed"})


def checked_name(name: str) -> str:
    """A VM name.

    Raises:
        BlockhostError: it is not one.
    """
    if not NAME.fullmatch(name):
        raise BlockhostError(_("%(name)r is not a VM name; expected 1 to 64 of a-z 0-9 -") % {"name": name})
    return name


def start(name: str, database: VMDatabase) -> None:
    """Start a machine; a running one is fine. One that expiry put to sleep needs `resume`.

    Raises:
        BlockhostError: there is no such machine, or its subscription has ended.
    """
    with exclusive(checked_name(name)):
        record = require_machine(name, database)
        if record["status"] == Status.SUSPENDED:
            raise BlockhostError(
                _("%(name)s is suspended: its subscription ended") % {"name": name},
                hint=_("blockhost-vm-resume, with --extend-days"),
            )
        root_agent.call("virsh-start", name=name)


def stop(name: str, database: VMDatabase) -> None:
    """Ask a machine to shut down; it does so in its own time."""
    require_machine(name, database)
    root_agent.call("virsh-shutdown", name=name)


def kill(name: str, database: VMDatabase) -> None:
    """Stop a machine at once."""
    require_machine(name, database)
    root_agent.call("virsh-destroy", name=name)


def destroy(name: str, database: VMDatabase) -> None:
    """Remove a machine with all that belongs to it; a missing one is fine."""
    with exclusive(checked_name(name)):
        record = database.get_vm(name)
        if record is not None and record["status"] == Status.DESTROYED:
            return
        dismantle(name, record, load_settings())
        if record is not None:
            database.mark_destroyed(name)


def status(name: str, database: VMDatabase) -> str:
    """`active`, `suspended`, `destroyed` or `unknown`; from the record and what libvirt sees."""
    record = database.get_vm(name)
    if record is None or record["status"] == Status.CREATING:
        return "unknown"
    if record["status"] == Status.DESTROYED:
        return "destroyed"
    return _state(name, states())


def listing(database: VMDatabase) -> list[dict[str, str | None]]:
    """Every machine that is not destroyed."""
    seen = states()
    return [
        {
            "name": record["vm_name"],
            "status": "unknown" if record["status"] == Status.CREATING else _state(record["vm_name"], seen),
            "ip": record["ip_address"],
            "created": record["created_at"],
        }
        for record in database.list_vms()
        if record["status"] != Status.DESTROYED
    ]


def states() -> dict[str, str]:
    """What libvirt says about all machines."""
    found = root_agent.call("virsh-list")["domains"]
    return {str(name): str(state) for name, state in found.items()}


def metrics(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What machines use, by name, in as few calls as possible; what libvirt does not know is missing."""
    found: dict[str, dict[str, Any]] = {}
    for first in range(0, len(names), AT_ONCE):
        asked = list(names[first : first + AT_ONCE])
        found |= root_agent.call("vm-metrics", timeout=60, names=asked)["metrics"]
    return found


def limit(name: str, database: VMDatabase, wanted: Mapping[str, int]) -> None:
    """Limit what a machine uses: parameters of the action `vm-limit`; 0 takes one away."""
    with exclusive(checked_name(name)):
        require_machine(name, database)
        root_agent.call("vm-limit", name=name, **wanted)


def change_owner(
    name: str, wallet: str, nft_id: int, ssh_keys: Sequence[str] | None, database: VMDatabase
) -> str:
    """Write a machine's owner into the guest; with keys, only those log in from then on. The user's name.

    The record says in between that guest and ledger differ, so whoever is cut short knows.
    """
    with exclusive(checked_name(name)):
        require_machine(name, database)
        database.set_gecos_synced(name, is_synced=False)
        keys: dict[str, Any] = {} if ssh_keys is None else {"ssh_keys": list(ssh_keys)}
        user = root_agent.call("vm-owner-set", name=name, wallet=wallet, nft_id=nft_id, **keys)["username"]
        database.set_gecos_synced(name, is_synced=True)
    return str(user)


def _state(name: str, seen: dict[str, str]) -> str:
    state = seen.get(name, "")
    if state in RUNNING:
        return "active"
    return "suspended" if state in STOPPED else "unknown"


def require_machine(name: str, database: VMDatabase) -> VmRecord:
    """The record of a machine that was made and not destroyed.

    Raises:
        BlockhostError: there is none.
    """
    record = database.get_vm(checked_name(name))
    if record is None or record["status"] == Status.DESTROYED:
        raise BlockhostError(
            _("no VM named %(name)s") % {"name": name}, hint=_("blockhost-vm-list shows them.")
        )
    if record["status"] == Status.CREATING:
        raise BlockhostError(
            _("%(name)s is not complete: its creation was interrupted") % {"name": name},
            hint=_("Destroy it, then create it"),
        )
    return record
