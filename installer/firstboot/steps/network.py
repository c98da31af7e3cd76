"""Step `network`: how far the host reaches; without any address, DHCP is asked once more."""

from __future__ import annotations

from blockhost.errors import BlockhostError, StepFailed
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.pipeline import Change, Step, StepContext
from installer.host.connectivity import Connectivity, Reach, connectivity
from installer.host.interfaces import Kind, interfaces
from installer.network import persist


def run(context: StepContext) -> None:
    found = connectivity()
    if found.connectivity is not Reach.GATEWAY:
        context.log(f"reach: {found.connectivity}; asking for an address by DHCP")
        found = _ask_dhcp(context) or found
    if found.connectivity is Reach.NONE:
        raise StepFailed(
            _("no network card has an address"), hint=_("Plug in a cable; the card shows the address at once")
        )
    context.result(found.to_json())


def _ask_dhcp(context: StepContext) -> Connectivity | None:
    """Have networkd begin anew on each wired card without an address."""
    if not persist.has_networkd():
        return None
    for interface in interfaces():
        is_card = interface.kind in (Kind.WIRED, Kind.BRIDGE) and interface.master is None
        if is_card and not interface.has_global_address:
            try:
                context.run(["networkctl", "reconfigure", interface.name], timeout=30)
            except BlockhostError as error:
                context.log(f"{interface.name}: {error}")
    return connectivity(deadline_s=10.0)


def describe(_context: StepContext) -> list[Change]:
    return []


STEP = Step(
    "network",
    N_("Check the network"),
    apply=run,
    plan=describe,
    hint=N_("Plug in a cable, or set an address on the wizard's network page"),
    expect_s=(0, 15),
    timeout_s=120,
)
