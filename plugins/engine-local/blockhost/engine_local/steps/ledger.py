"""Step `ledger`: the empty book that credentials, plans and subscriptions go into."""

from __future__ import annotations

from collections.abc import Sequence

from blockhost.engine_local import ledger
from blockhost.engine_local.ledger.schema import LATEST
from blockhost.errors import StepFailed
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.pipeline import Change, Step, StepContext


def run(context: StepContext) -> None:
    """Create it, or bring it up to date; what is in it stays."""
    ledger.create()
    with ledger.open_ledger() as book:
        complaints = book.complaints()
    if complaints:
        raise StepFailed(
            _("%(path)s is damaged: %(reason)s") % {"path": ledger.path(), "reason": complaints[0]},
            hint=_("Restore it from a backup, or move it away and retry."),
        )
    context.log(f"ledger ready: {ledger.path()}, schema {LATEST}")


def is_ready(_context: StepContext) -> bool:
    try:
        with ledger.open_ledger() as book:
            return book.version() == LATEST and not book.complaints()
    except ledger.LedgerMissing:
        return False


def describe(_context: StepContext) -> Sequence[Change]:
    return [Change("file", str(ledger.path()), _("SQLite ledger, owned by blockhost"))]


STEP = Step(
    "ledger",
    N_("Local ledger"),
    apply=run,
    check=is_ready,
    plan=describe,
    hint=N_("Holds credentials, plans and subscriptions"),
    expect_s=(0, 5),
    timeout_s=60,
)
