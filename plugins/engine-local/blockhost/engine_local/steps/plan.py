"""Step `plan`: the first plan, exactly once, and a signup page that shows it."""

from __future__ import annotations

from collections.abc import Sequence

from blockhost.engine_local.answers import EngineAnswers
from blockhost.engine_local.ledger import LedgerMissing, open_ledger, plans
from blockhost.engine_local.signup import page
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.pipeline import Change, Step, StepContext


def run(context: StepContext) -> None:
    """The plan is found by its name; a second attempt corrects it instead of adding another."""
    offer = EngineAnswers.from_config(context.config).plan
    with open_ledger() as book:
        number = plans.ensure(book, offer)
    # The page was made before there was a plan: the `signup` step comes first.
    page.publish()
    context.result({"plan_id": number})
    context.log(f"plan {number}: {offer.name}")


def is_offered(context: StepContext) -> bool:
    offer = EngineAnswers.from_config(context.config).plan
    try:
        with open_ledger() as book:
            offered = [plan.id for plan in plans.all_plans(book, active_only=True) if plan.offer == offer]
    except LedgerMissing:
        return False
    if not offered or not page.is_published():
        return False
    context.result({"plan_id": offered[0]})
    return True


def describe(context: StepContext) -> Sequence[Change]:
    offer = EngineAnswers.from_config(context.config).plan
    return [
        Change("transaction", _("plan “%(name)s”") % {"name": offer.name}, page.summary(offer)),
        Change("file", str(page.default_path()), _("shows the plan")),
    ]


STEP = Step(
    "plan",
    N_("First plan"),
    apply=run,
    check=is_offered,
    plan=describe,
    expect_s=(0, 5),
    timeout_s=60,
)
