"""What became of a subscription: its machine and the work on it, as far as they are known."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.subscriptions.decision import vm_name
from blockhost.subscriptions.jobs import JobStatus, JobStore
from blockhost.vm_db import get_database

_FIELDS = ("vm_name", "status", "ip_address", "ipv6_address", "expires_at", "suspended_at")


def machine_of(number: int) -> dict[str, Any] | None:
    """Name, status and addresses; None while there is none."""
    try:
        with contextlib.closing(get_database(create=False)) as database:
            record = database.get_vm(vm_name(number))
    except BlockhostError:
        return None  # before the provisioner's setup
    return None if record is None else {key: record[key] for key in _FIELDS}  # type: ignore[literal-required]


def job_of(number: int) -> dict[str, Any] | None:
    """How the work on it stands; None before the monitor has seen it."""
    try:
        with contextlib.closing(JobStore(create=False)) as jobs:
            job = jobs.find(number)
    except BlockhostError:
        return None
    if job is None:
        return None
    return {
        "status": job.status,
        "doing": job.doing,
        "failed": job.attempts,
        "note": job.note,
        "hint": job.hint,
    }


def states() -> Mapping[int, str]:
    """One word for each subscription that has a machine or needs the operator."""
    found: dict[int, str] = {}
    with contextlib.suppress(BlockhostError), contextlib.closing(JobStore(create=False)) as jobs:
        numbers = {vm_name(job.subscription): job.subscription for job in jobs.all()}
        with contextlib.suppress(BlockhostError), contextlib.closing(get_database(create=False)) as database:
            found = {
                numbers[vm["vm_name"]]: vm["status"] for vm in database.list_vms() if vm["vm_name"] in numbers
            }
        found.update({job.subscription: "parked" for job in jobs.all(JobStatus.PARKED)})
    return found


def as_line(machine: Mapping[str, Any] | None) -> str:
    if machine is None:
        return "–"
    addresses = [text for text in (machine["ip_address"], machine["ipv6_address"]) if text]
    return ", ".join([machine["vm_name"], machine["status"], *addresses])


def what_to_try(number: int, job: Mapping[str, Any] | None) -> list[str]:
    """For the operator, once the monitor has given up."""
    if job is None or job["status"] != JobStatus.PARKED:
        return []
    retry = _("Mend it, then: blockhost-subscriptions retry %(number)d") % {"number": number}
    return [job["hint"], retry] if job["hint"] else [retry]


def work_as_line(job: Mapping[str, Any] | None) -> str:
    if job is None:
        return _("not begun; is blockhost-monitor running?")
    if job["status"] == JobStatus.SETTLED:
        return job["note"] or _("done")
    if job["status"] == JobStatus.PARKED:
        return _("given up: %(note)s") % {"note": job["note"]}
    if job["note"]:
        return _("tried again soon: %(note)s") % {"note": job["note"]}
    return str(job["doing"] or _("about to begin"))
