"""What validation looks at on a libvirt host; run as root, today and on any later day."""

from __future__ import annotations

from blockhost import paths
from blockhost.checks import Check, CheckContext, Finding, Severity
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.i18n import ngettext
from blockhost.provisioner_libvirt import kvm
from blockhost.provisioner_libvirt.settings import load_settings
from blockhost.provisioner_libvirt.template import imported_volume
from blockhost.provisioner_libvirt.virsh import is_usable, pool
from blockhost.vm_db import get_database


def _libvirt(_context: CheckContext) -> Finding:
    return Finding(is_usable(), "virsh version")


def _pool(_context: CheckContext) -> Finding:
    try:
        settings = load_settings()
        found = pool(settings.pool)
    except BlockhostError as error:
        return Finding(False, str(error))
    if found is None:
        return Finding(False, _("no pool %(pool)s") % {"pool": settings.pool})
    ok = (
        found["is_active"] and found["is_autostart"] and found["path"] == str(paths.at(settings.storage_path))
    )
    return Finding(
        bool(ok),
        _("%(pool)s at %(path)s, active: %(active)s")
        % {"pool": settings.pool, "path": found["path"], "active": found["is_active"]},
    )


def _template(_context: CheckContext) -> Finding:
    try:
        return Finding(bool(imported_volume()), load_settings().template)
    except BlockhostError as error:
        return Finding(False, str(error))


def _database(_context: CheckContext) -> Finding:
    try:
        database = get_database(create=False)
    except BlockhostError as error:
        return Finding(False, str(error))
    try:
        count = len(database.list_vms())
        return Finding(True, ngettext("%(count)d machine", "%(count)d machines", count) % {"count": count})
    finally:
        database.close()


def _acceleration(_context: CheckContext) -> Finding:
    state = kvm.probe()
    return Finding(state.usable, state.reason)


CHECKS: tuple[Check, ...] = (
    Check("VMS-LIBVIRT-01", N_("libvirt answers"), _libvirt, fix="systemctl status libvirtd.socket"),
    Check("VMS-POOL-01", N_("The storage pool runs"), _pool, fix="virsh pool-start NAME"),
    Check(
        "VMS-TEMPLATE-01",
        N_("The image for machines is in the pool"),
        _template,
        fix="blockhost-build-template",
    ),
    Check("VMS-DB-01", N_("The database of machines opens"), _database),
    Check(
        "VMS-KVM-01",
        N_("The processor runs machines directly"),
        _acceleration,
        Severity.WARNING,
        fix=N_("Switch on virtualisation (VT-x, AMD-V) in the firmware; machines are emulated until then"),
    ),
)
