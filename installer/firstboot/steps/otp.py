"""Step `otp`: the one-time code that opens the wizard. It never reaches a log."""

from __future__ import annotations

from blockhost import codes
from blockhost.errors import DamagedFile
from blockhost.files import make_dir
from blockhost.i18n import gettext_noop as N_
from blockhost.paths import run_dir
from blockhost.pipeline import Step, StepContext


def run(context: StepContext) -> None:
    if not run_dir().is_dir():
        make_dir(run_dir(), mode=0o750, group="blockhost")
    codes.issue()
    context.log("a code was issued; the console shows it")


def is_done(_context: StepContext) -> bool:
    """A code of this boot exists: one that was used or locked is renewed at the console, not here."""
    try:
        code = codes.current()
    except DamagedFile:
        return False
    return code is not None and (code.verified or code.locked or not code.is_expired)


STEP = Step("otp", N_("Issue the one-time code"), apply=run, check=is_done, expect_s=(0, 1), timeout_s=30)
