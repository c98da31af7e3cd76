"""Step `bridge`: the bridge that VMs join; see `installer.network.bridge`."""

from __future__ import annotations

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.pipeline import Change, Step, StepContext
from installer.network import bridge


def run(context: StepContext) -> None:
    context.result({"bridge": bridge.ensure_bridge()})


def is_done(context: StepContext) -> bool:
    name = bridge.remembered()
    if name is None and bridge.managed_marker().exists():
        name = bridge.name_file().read_text().strip() if bridge.name_file().exists() else None
    if name is not None:
        context.result({"bridge": name})
    return name is not None


def describe(_context: StepContext) -> list[Change]:
    try:
        if bridge.existing_bridge() is not None:
            return []
        plan = bridge.choose_plan()
    except BlockhostError:
        return []
    return [
        Change("address", plan.bridge, _("takes MAC, addresses and routes of %(nic)s") % {"nic": plan.nic})
    ]


STEP = Step(
    "bridge",
    N_("Make the bridge for VMs"),
    apply=run,
    check=is_done,
    plan=describe,
    hint=N_("The network is as it was; check cable and gateway, then restart"),
    expect_s=(0, 30),
    timeout_s=300,
)
