"""Step `validate`: every check of the core and of the plugins must hold."""

from __future__ import annotations

from blockhost.errors import StepFailed
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.pipeline.context import StepContext
from blockhost.pipeline.step import Change, Step
from installer.validation.report import output_file, validate


def run(context: StepContext) -> None:
    report = validate(context.config)
    for line in report.as_text().splitlines():
        context.log(line)
    if failed := report.failed():
        names = ", ".join(result.check.id for result in failed)
        first = failed[0]
        raise StepFailed(
            _("%(count)d checks failed: %(names)s") % {"count": len(failed), "names": names},
            hint=_(first.check.fix) if first.check.fix else first.finding.evidence,
        )
    context.result({"checks": len(report.results)})


def describe(context: StepContext) -> list[Change]:
    return [Change("file", str(output_file()), _("what every check found"))]


STEP = Step("validate", N_("Check everything"), apply=run, plan=describe, expect_s=(1, 30), timeout_s=900)
