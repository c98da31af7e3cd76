"""Checks of services: running now, and again after a reboot."""

from __future__ import annotations

from collections.abc import Iterator

from blockhost import command
from blockhost.checks import Check, Finding
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from installer.finalize.steps.complete import SERVICES


def checks() -> Iterator[Check]:
    for number, service in enumerate(SERVICES, 1):
        yield Check(
            f"SVC-UP-{number:02}",
            _("%(service)s runs, and starts at boot") % {"service": service},
            lambda _context, service=service: is_up(service),  # type: ignore[misc]
            fix=N_("journalctl -u tells why it does not: see the unit's name above"),
        )


def is_up(service: str) -> Finding:
    """Whether a unit is active and enabled."""
    states = [
        command.probe(["systemctl", question, service]).stdout.strip()
        for question in ("is-active", "is-enabled")
    ]
    return Finding(ok=states == ["active", "enabled"], evidence=", ".join(states))
