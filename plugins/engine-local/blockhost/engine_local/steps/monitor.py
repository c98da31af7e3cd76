"""Step `monitor`: the service that turns subscriptions into machines, now and at every boot."""

from __future__ import annotations

from collections.abc import Sequence

from blockhost.errors import CommandFailed, StepFailed
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.pipeline import Change, Step, StepContext

UNIT = "blockhost-monitor.service"


def run(context: StepContext) -> None:
    try:
        context.run(["systemctl", "enable", "--now", UNIT], timeout=120)
    except CommandFailed as error:
        raise StepFailed(str(error), hint=_("`journalctl -u %(unit)s` says why.") % {"unit": UNIT}) from error


def is_up(context: StepContext) -> bool:
    questions = ("is-enabled", "is-active")
    return all(context.probe(["systemctl", word, "--quiet", UNIT]).code == 0 for word in questions)


def describe(_context: StepContext) -> Sequence[Change]:
    return [Change("unit", UNIT, _("enable and start"))]


STEP = Step(
    "monitor",
    N_("Subscription monitor"),
    apply=run,
    check=is_up,
    plan=describe,
    hint=N_("Makes a machine for every subscription"),
    expect_s=(0, 10),
    timeout_s=180,
)
