"""What should hold on a host that runs this engine, at setup's end and on any later day."""

from __future__ import annotations

import contextlib
import stat

from blockhost import command
from blockhost.checks import Check, CheckContext, Finding, Severity
from blockhost.config import load_blockhost_config
from blockhost.engine_local import ledger
from blockhost.engine_local.cli.bw import administrator
from blockhost.engine_local.ledger import open_ledger, plans
from blockhost.engine_local.ledger.store import MODE
from blockhost.engine_local.signup import page
from blockhost.engine_local.steps.monitor import UNIT
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.subscriptions.jobs import JobStatus, JobStore
from blockhost.subscriptions.jobs import default_path as jobs_file


def ledger_is_sound(_context: CheckContext) -> Finding:
    try:
        with open_ledger() as book:
            complaints = book.complaints()
            version = book.version()
    except BlockhostError as error:
        return Finding(False, str(error))
    mode = stat.S_IMODE(ledger.path().stat().st_mode)
    if mode != MODE:
        return Finding(
            False,
            _("%(path)s: mode %(mode)04o, expected %(expected)04o")
            % {"path": ledger.path(), "mode": mode, "expected": MODE},
        )
    return Finding(
        not complaints,
        "; ".join(complaints)
        or _("%(path)s: schema %(version)s") % {"path": ledger.path(), "version": version},
    )


def administrator_is_known(context: CheckContext) -> Finding:
    """The credential's holder; during setup that must be the wallet that was given."""
    try:
        found = administrator()
        expected = context.config.get("admin_wallet") or load_blockhost_config()["admin"]["wallet_address"]
    except (BlockhostError, KeyError) as error:
        return Finding(False, str(error))
    # Later the credential may have been handed on; that is no fault.
    return Finding(found == expected or "admin_wallet" not in context.config, found)


def something_is_offered(_context: CheckContext) -> Finding:
    try:
        with open_ledger() as book:
            offered = plans.all_plans(book, active_only=True)
        shown = page.is_published()
    except BlockhostError as error:
        return Finding(False, str(error))
    names = ", ".join(plan.offer.name for plan in offered)
    if offered and not shown:
        return Finding(
            False, _("%(path)s does not show: %(names)s") % {"path": page.default_path(), "names": names}
        )
    return Finding(bool(offered), names or _("no plan"))


def monitor_works(_context: CheckContext) -> Finding:
    """It runs, and no job waits for the operator."""
    if command.probe(["systemctl", "is-active", "--quiet", UNIT]).code != 0:
        return Finding(False, _("%(unit)s does not run") % {"unit": UNIT})
    if not jobs_file().exists():
        return Finding(True, _("none"))  # the monitor makes it with its first work; a look changes nothing
    try:
        with contextlib.closing(JobStore(create=False)) as jobs:
            parked = [job.subscription for job in jobs.all(JobStatus.PARKED)]
    except BlockhostError as error:
        return Finding(False, str(error))
    numbers = ", ".join(str(number) for number in parked)
    return Finding(
        not parked, _("given up: subscriptions %(ids)s") % {"ids": numbers} if parked else _("none")
    )


CHECKS = (
    Check(
        "LOCAL-LEDGER-01",
        N_("The ledger can be read and is sound"),
        ledger_is_sound,
        fix=N_("systemctl stop blockhost-admin; restore /var/lib/blockhost/ledger.db from a backup"),
    ),
    Check(
        "LOCAL-ADMIN-02",
        N_("The administrator's credential has an owner"),
        administrator_is_known,
        fix="blockhost-setup retry mint_nft",
    ),
    Check(
        "LOCAL-PLAN-03",
        N_("A plan is offered, and the signup page shows it"),
        something_is_offered,
        severity=Severity.WARNING,
        fix="bw plan create NAME CENTS_PER_DAY; blockhost-generate-signup",
    ),
    Check(
        "LOCAL-MONITOR-04",
        N_("The monitor runs, and has given up no subscription"),
        monitor_works,
        severity=Severity.WARNING,
        fix="journalctl -u blockhost-monitor; blockhost-subscriptions list --status parked",
    ),
)
