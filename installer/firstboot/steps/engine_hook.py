"""Step `engine-hook`: what the engine prepares on this host before the wizard."""

from __future__ import annotations

from blockhost.i18n import gettext_noop as N_
from blockhost.manifest import load_engine
from blockhost.pipeline import Change, Step, StepContext
from installer.firstboot.hooks import HOOK_TIMEOUT_S, run_hook


def run(context: StepContext) -> None:
    manifest = load_engine()
    run_hook(context, manifest.first_boot_hook, owner=manifest.display_name)


def describe(_context: StepContext) -> list[Change]:
    hook = load_engine().first_boot_hook
    return [Change("command", hook)] if hook else []


STEP = Step(
    "engine-hook",
    N_("Prepare the engine"),
    apply=run,
    plan=describe,
    hint=N_("The plugin's own log lines say why (press l)"),
    expect_s=(0, 60),
    timeout_s=HOOK_TIMEOUT_S + 60,
)
