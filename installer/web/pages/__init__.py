"""The wizard's own pages, one per file."""

from __future__ import annotations

from installer.web.pages import (
    admin_commands,
    complete,
    install,
    ipv6,
    network,
    network_trial,
    start,
    storage,
    summary,
    wallet,
)

PAGES = (
    start.page,
    wallet.page,
    network.page,
    network_trial.page,
    storage.page,
    ipv6.page,
    admin_commands.page,
    summary.page,
    install.page,
    complete.page,
)
