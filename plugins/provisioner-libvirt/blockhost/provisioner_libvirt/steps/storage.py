"""Step `storage`: a libvirt pool for disks, running and started at boot."""

from __future__ import annotations

from blockhost import paths
from blockhost.config import load_db_config
from blockhost.config_files import DB, update_config
from blockhost.errors import BlockhostError, StepFailed
from blockhost.files import make_dir
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.pipeline.context import StepContext
from blockhost.pipeline.step import Change, Step
from blockhost.provisioner_libvirt.steps.answered import answered
from blockhost.provisioner_libvirt.virsh import pool, require_usable, virsh


def run(context: StepContext) -> None:
    """Each part is done only where it is missing, so a repetition continues."""
    answer = answered(context)
    require_usable()
    target = paths.at(answer.storage_path)
    found = pool(answer.storage_pool)
    if found is None:
        # 0711: QEMU's own user reaches its disks, and nobody lists them.
        make_dir(target, mode=0o711, owner="root", group="root")
        context.log(f"defining pool {answer.storage_pool} at {answer.storage_path}")
        virsh("pool-define-as", "--name", answer.storage_pool, "--type", "dir", "--target", str(target))
        found = pool(answer.storage_pool) or {}
    elif found["kind"] != "dir" or found["path"] != str(target):
        raise StepFailed(
            _("libvirt already has a pool %(storage_pool)s at %(path)s")
            % {"storage_pool": answer.storage_pool, "path": found["path"]},
            hint=_("Choose another name for the pool, or that directory"),
        )
    if not found.get("is_active"):
        make_dir(target, mode=0o711, owner="root", group="root")
        virsh("pool-start", "--pool", answer.storage_pool)
    if not found.get("is_autostart"):
        virsh("pool-autostart", "--pool", answer.storage_pool)
    update_config(DB, {"storage_pool": answer.storage_pool, "storage_path": answer.storage_path})


def is_in_place(context: StepContext) -> bool:
    """The pool runs, starts at boot, lies where it should, and `db.yaml` names it."""
    answer = answered(context)
    try:
        found, config = pool(answer.storage_pool), load_db_config()
    except BlockhostError:
        return False
    return (
        found is not None
        and found["path"] == str(paths.at(answer.storage_path))
        and found["is_active"]
        and found["is_autostart"]
        and config.get("storage_pool") == answer.storage_pool
        and config.get("storage_path") == answer.storage_path
    )


def describe(context: StepContext) -> list[Change]:
    answer = answered(context)
    return [
        Change("file", answer.storage_path, _("directory for the disks of virtual machines")),
        Change("command", f"virsh pool-define-as {answer.storage_pool}", _("storage pool, started at boot")),
        Change("file", "/etc/blockhost/db.yaml", "storage_pool, storage_path"),
    ]


STEP = Step(
    "storage",
    N_("Storage for virtual machines"),
    apply=run,
    check=is_in_place,
    plan=describe,
    hint=N_("The directory must lie on a disk with room for the machines"),
    expect_s=(1, 20),
)
