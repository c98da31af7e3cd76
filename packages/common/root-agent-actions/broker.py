"""Renewing the lease of an IPv6 prefix."""

from __future__ import annotations

from blockhost.command import run
from blockhost.root_agent.action import action


@action(resource="broker", is_slow=True)
def broker_renew() -> None:
    """Ask the broker to extend this host's allocation."""
    run(["broker-client", "renew"], timeout=280)


ACTIONS = {"broker-renew": broker_renew}
