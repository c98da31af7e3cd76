"""The end of subscriptions: expired machines sleep, and after the days of grace they are destroyed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from blockhost import root_agent, wall_clock
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt import power
from blockhost.provisioner_libvirt.create import exclusive, is_free
from blockhost.vm_db import Status, VMDatabase, VmRecord

log = logging.getLogger(__name__)

#: How long a guest may take to shut down in order before it is stopped.
SHUTDOWN_S = 90.0
#: Machines that are suspended or destroyed side by side.
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Due:
    """One machine and what is to happen to it: `suspend` or `destroy`."""

    verb: str
    name: str
    since: str
    #: Only the clock says so; a clock that is in doubt must not.
    is_by_clock: bool = True


def due(
    database: VMDatabase,
    seen: Mapping[str, str],
    *,
    grace_days: int | None = None,
    suspend: bool = True,
    destroy: bool = True,
) -> list[Due]:
    """What is to be done now, in order. `seen` is what libvirt says about all machines.

    A machine that is suspended and runs all the same (a suspension was cut short) is due again, and so
    is one whose creation was: it holds addresses.
    """
    found: list[Due] = []
    overdue = database.get_vms_to_destroy(database.pools.grace_days if grace_days is None else grace_days)
    if suspend:
        found += [_due("suspend", record, "expires_at") for record in database.get_vms_to_suspend()]
        found += [
            _due("suspend", record, "expires_at", is_by_clock=False)
            for record in database.list_vms(Status.SUSPENDED)
            if seen.get(record["vm_name"]) in power.RUNNING and record not in overdue
        ]
    if destroy:
        found += [_due("destroy", record, "suspended_at") for record in overdue]
        found += [
            _due("destroy", record, "created_at", is_by_clock=False)
            for record in database.list_vms(Status.CREATING)
            if is_free(record["vm_name"])
        ]
    return found


def collect(work: list[Due], database: VMDatabase) -> Iterator[tuple[Due, str]]:
    """Do it, some side by side, since guests take their time to shut down; each with what went wrong, or
    "". One failure stops no other."""
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="gc") as pool:
        yield from pool.map(lambda item: (item, _attempt(item, database)), work)


def _attempt(item: Due, database: VMDatabase) -> str:
    acts: dict[str, Callable[[str, VMDatabase], None]] = {"suspend": suspend, "destroy": power.destroy}
    try:
        acts[item.verb](item.name, database)
    except BlockhostError as error:
        log.warning("%s: cannot %s: %s", item.name, item.verb, error)
        return str(error)
    return ""


def suspend(name: str, database: VMDatabase, *, shutdown_s: float = SHUTDOWN_S) -> None:
    """Shut an expired machine down, in order if it does so in time; its disk and addresses stay.

    The record comes first: from then on nothing starts the machine but `resume`.
    """
    with exclusive(name):
        record = database.get_vm(name)
        if record is None or record["status"] not in (Status.ACTIVE, Status.SUSPENDED):
            return
        database.mark_suspended(name)
        root_agent.call("virsh-shutdown", name=name)
        deadline = time.monotonic() + shutdown_s
        while power.states().get(name) in power.RUNNING and time.monotonic() < deadline:
            time.sleep(0.5)
        root_agent.call("virsh-destroy", name=name)


def resume(name: str, database: VMDatabase, *, extend_days: int = 0) -> VmRecord:
    """Wake a suspended machine; a running one is fine. An expired one needs more days.

    Raises:
        BlockhostError: as `require_resumable`, or it cannot be started: then it has no more days than before.
    """
    with exclusive(power.checked_name(name)):
        record = require_resumable(name, database, extend_days=extend_days)
        if extend_days:
            database.extend_expiry(name, extend_days)
        try:
            root_agent.call("virsh-start", name=name)
        except BlockhostError:
            # Or who tries again would give it the days a second time.
            database.update_fields(name, {"expires_at": record["expires_at"]})
            raise
        return database.mark_active(name)


def require_resumable(name: str, database: VMDatabase, *, extend_days: int = 0) -> VmRecord:
    """The record of a machine that `resume` would wake.

    Raises:
        BlockhostError: it does not exist, or has expired and gets no more days, or more days were
            asked for while the clock is in doubt.
    """
    record = power.require_machine(name, database)
    if extend_days:
        wall_clock.require()
    elif name in {expired["vm_name"] for expired in database.get_expired_vms()}:
        raise BlockhostError(
            _("%(name)s has expired") % {"name": name}, hint=_("Give it more days: --extend-days N")
        )
    return record


def _due(verb: str, record: VmRecord, key: str, *, is_by_clock: bool = True) -> Due:
    return Due(verb, record["vm_name"], str(record[key] or ""), is_by_clock)  # type: ignore[literal-required]
