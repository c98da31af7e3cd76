"""Step `nodejs`: the runtime that an engine asks for, if it asks. Nothing is downloaded.

An engine asks by the key `setup.runtimes` of its manifest, a list of program names.
"""

from __future__ import annotations

from blockhost import command
from blockhost.errors import StepFailed
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.manifest import load_engine
from blockhost.pipeline import Step, StepContext


def run(context: StepContext) -> None:
    wanted = list(load_engine().runtimes)
    missing = [program for program in wanted if command.find(program) is None]
    if missing:
        raise StepFailed(
            _("the engine needs {programs}, which the ISO did not bring").format(programs=", ".join(missing)),
            hint=_("Build the ISO with the packages that the engine depends on"),
        )
    context.result({"runtimes": wanted})


STEP = Step(
    "nodejs",
    N_("Check the engine's runtime"),
    apply=run,
    hint=N_("Build the ISO with the packages that the engine depends on"),
    expect_s=(0, 2),
    timeout_s=60,
)
