"""First-boot hooks of plugins: programs of installed packages, run as root, idempotent."""

from __future__ import annotations

from pathlib import Path

from blockhost import paths
from blockhost.errors import CommandFailed, StepFailed
from blockhost.i18n import gettext as _
from blockhost.pipeline import StepContext

HOOK_TIMEOUT_S = 1500.0


def log_file() -> Path:
    """First boot's log; hooks get its name as LOG_FILE."""
    return paths.log_dir() / "blockhost-firstboot.log"


def run_hook(context: StepContext, hook: str | None, *, owner: str) -> None:
    """Run a plugin's hook with STATE_DIR and LOG_FILE; a plugin without one is fine.

    Raises:
        StepFailed: there is no such program, or it failed.
    """
    if hook is None:
        context.log(f"{owner} has no first-boot hook")
        return
    program = paths.at(hook)
    if not program.is_file():
        raise StepFailed(
            _("the first-boot hook of {owner} is missing: {hook}").format(owner=owner, hook=hook),
            hint=_("Install the package of {owner} again").format(owner=owner),
        )
    environment = {"STATE_DIR": str(paths.state_dir()), "LOG_FILE": str(log_file())}
    try:
        context.stream([program], timeout=HOOK_TIMEOUT_S, env=environment)
    except CommandFailed as error:
        raise StepFailed(
            _("the first-boot hook of {owner} failed: {error}").format(owner=owner, error=error),
            hint=_("The last lines of {log} say why (press l)").format(log=log_file()),
        ) from error
