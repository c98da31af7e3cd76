"""Step `network`: which bridge and which addresses virtual machines get; the database of machines."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from blockhost import paths
from blockhost.config import load_db_config
from blockhost.config_files import DB, update_config
from blockhost.errors import BlockhostError, StepFailed
from blockhost.files import make_dir
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.pipeline.context import StepContext
from blockhost.pipeline.step import Change, Step
from blockhost.provisioner_libvirt import kvm
from blockhost.provisioner_libvirt.answers import LibvirtAnswer
from blockhost.provisioner_libvirt.domain import BRIDGE
from blockhost.provisioner_libvirt.steps.answered import answered
from blockhost.vm_db import get_database

DATABASE = "/var/lib/blockhost/vms.db"
EXPIRY_DAYS = 30


def run(context: StepContext) -> None:
    """Writes `db.yaml` and opens the database once, so that it exists with its owner."""
    update_config(DB, _wanted(answered(context), context))
    make_dir(paths.state_dir() / "vm-locks", mode=0o770, owner="blockhost", group="blockhost")
    get_database().close()
    _give_to_services()


def is_in_place(context: StepContext) -> bool:
    """`db.yaml` says what was answered, and the database can be opened."""
    try:
        config = load_db_config()
        wanted = _wanted(answered(context), context)
    except BlockhostError:
        return False
    return all(config.get(key) == value for key, value in wanted.items()) and _has_tables()


def describe(context: StepContext) -> list[Change]:
    answer = answered(context)
    return [
        Change(
            "file",
            "/etc/blockhost/db.yaml",
            _("addresses %(ip_start)s to %(ip_end)s")
            % {"ip_start": answer.ip_start, "ip_end": answer.ip_end},
        ),
        Change("file", DATABASE, _("database of virtual machines")),
    ]


def bridge_name() -> str:
    """The bridge that first boot made or found.

    Raises:
        StepFailed: there is none.
    """
    note = paths.run_dir() / "bridge"
    try:
        name = note.read_text(encoding="utf-8").strip()
    except OSError:
        name = ""
    if not BRIDGE.fullmatch(name):
        raise StepFailed(
            _("%(note)s names no bridge for virtual machines") % {"note": note},
            hint=_("First boot makes it: see /var/log/blockhost-firstboot.log"),
        )
    return name


def _wanted(answer: LibvirtAnswer, context: StepContext) -> dict[str, Any]:
    addresses = {
        "network": answer.ip_network,
        "start": answer.ip_start,
        "end": answer.ip_end,
        "gateway": answer.gateway,
    }
    if reserved := _host_addresses(answer, context):
        context.log(f"{', '.join(reserved)} belongs to the host itself and is kept out of the range")
        addresses["reserved"] = reserved  # type: ignore[assignment]
    return {
        "db_file": DATABASE,
        "bridge": bridge_name(),
        "ip_pool": addresses,
        "default_expiry_days": EXPIRY_DAYS,
        "gc_grace_days": answer.gc_grace_days,
        # Asked once, as root: the services may not open the device.
        "accelerator": "kvm" if kvm.probe().usable else "qemu",
    }


def _host_addresses(answer: LibvirtAnswer, context: StepContext) -> list[str]:
    """The host's own addresses inside the range: they must never be handed out."""
    done = context.probe(["ip", "-j", "-4", "address", "show"])
    if done.code != 0:
        raise StepFailed(_("ip cannot tell the host's addresses"))
    first, last = ipaddress.IPv4Address(answer.ip_start), ipaddress.IPv4Address(answer.ip_end)
    found = {
        ipaddress.IPv4Address(entry["local"])
        for link in json.loads(done.stdout or "[]")
        for entry in link.get("addr_info", [])
        if entry.get("family") == "inet"
    }
    return [str(address) for address in sorted(found) if first <= address <= last]


def _has_tables() -> bool:
    """Whether the database was made to its end: a kill may leave an empty file, or a part."""
    try:
        uri = f"file:{paths.at(DATABASE)}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
            found = {
                name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
    except sqlite3.Error:
        return False
    return found >= {"vms", "addresses", "counters"}


def _give_to_services() -> None:
    """The services work on the database; SQLite gives its side files the owner of the database."""
    if paths.root() == Path("/"):
        shutil.chown(paths.at(DATABASE), "blockhost", "blockhost")


STEP = Step(
    "network",
    N_("Network of virtual machines"),
    apply=run,
    check=is_in_place,
    plan=describe,
    hint=N_("The range must not overlap with the addresses that your router hands out"),
    expect_s=(0, 5),
)
