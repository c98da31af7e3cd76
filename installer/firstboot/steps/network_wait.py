"""Step `network-wait`: give the network a moment to come up.

It always ends well: without a route the host still answers on its link-local address, and the
operator needs the wizard most then.
"""

from __future__ import annotations

import time

from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.pipeline import Change, Step, StepContext
from installer.network.state import default_routes

WAIT_S = 60.0
POLL_S = 0.5


def run(context: StepContext) -> None:
    begin = time.monotonic()
    while not default_routes():
        waited = time.monotonic() - begin
        if waited >= WAIT_S:
            context.log(f"no route after {WAIT_S:.0f} s; going on with link-local addresses")
            context.result({"route": False})
            return
        context.progress(waited / WAIT_S, _("waiting for an address"))
        time.sleep(POLL_S)
    context.result({"route": True})


def describe(_context: StepContext) -> list[Change]:
    return []


STEP = Step(
    "network-wait",
    N_("Wait for the network"),
    apply=run,
    plan=describe,
    hint=N_("Without a cable or DHCP the link-local address still answers"),
    expect_s=(0, WAIT_S),
    timeout_s=WAIT_S + 120,
)
