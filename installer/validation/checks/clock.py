"""Check of the clock: machines are put to sleep and destroyed by it."""

from __future__ import annotations

from collections.abc import Iterator

from blockhost import wall_clock
from blockhost.checks import Check, CheckContext, Finding, Severity
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_


def checks() -> Iterator[Check]:
    yield Check(
        "CLOCK-RELY-01",
        _("the clock can be relied on"),
        _is_relied_on,
        Severity.WARNING,
        fix=N_("timedatectl tells about the clock; once it is right: blockhost-clock trust"),
    )


def _is_relied_on(context: CheckContext) -> Finding:
    doubt = wall_clock.read().doubt
    server = _("synchronised") if wall_clock.is_synchronised() else _("not synchronised by a time server")
    return Finding(ok=not doubt, evidence=doubt or server)
