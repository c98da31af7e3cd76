"""Starting, stopping and looking at machines that exist."""

from __future__ import annotations

from blockhost import root_agent
from blockhost.errors import BlockhostError
from blockhost.provisioner_libvirt.create import dismantle, exclusive
from blockhost.provisioner_libvirt.domain import NAME
from blockhost.provisioner_libvirt.settings import load_settings
from blockhost.vm_db import Status, VMDatabase

#: libvirt's words for a machine whose processors run.
RUNNING = frozenset({"running", "idle", "in shutdown"})
STOPPED = frozenset({"shut off", "paused", "pmsuspended", "crashed"})


def checked_name(name: str) -> str:
    """A VM name.

    Raises:
        BlockhostError: it is not one.
    """
    if not NAME.fullmatch(name):
        raise BlockhostError(f"{name!r} is not a VM name; expected 1 to 64 of a-z 0-9 -")
    return name


def start(name: str, database: VMDatabase) -> None:
    """Start a machine; a running one is fine."""
    _require(name, database)
    root_agent.call("virsh-start", name=name)
    database.mark_active(name)


def stop(name: str, database: VMDatabase) -> None:
    """Ask a machine to shut down; it does so in its own time."""
    _require(name, database)
    root_agent.call("virsh-shutdown", name=name)


def kill(name: str, database: VMDatabase) -> None:
    """Stop a machine at once."""
    _require(name, database)
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


def _state(name: str, seen: dict[str, str]) -> str:
    state = seen.get(name, "")
    if state in RUNNING:
        return "active"
    return "suspended" if state in STOPPED else "unknown"


def _require(name: str, database: VMDatabase) -> None:
    record = database.get_vm(checked_name(name))
    if record is None or record["status"] == Status.DESTROYED:
        raise BlockhostError(f"no VM named {name}")
    if record["status"] == Status.CREATING:
        raise BlockhostError(
            f"{name} is not complete: its creation was interrupted", hint="Destroy it, then create it"
        )
