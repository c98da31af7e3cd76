"""Facts about this machine for the wizard: its sandbox has neither network nor devices to look at."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from blockhost import nginx_site
from installer.host.boot_medium import boot_medium
from installer.host.connectivity import connectivity
from installer.host.disks import disks
from installer.host.interfaces import interfaces
from installer.tls import certificate, names

log = logging.getLogger(__name__)


def host_facts() -> dict[str, Any]:
    """Everything that can be found out now; what fails is missing, and the rest is there."""
    facts: dict[str, Any] = {}
    for name, ask in _QUESTIONS.items():
        try:
            facts[name] = ask()
        except Exception:  # one odd device must not cost the operator all the others
            log.exception("cannot find out about %s", name)
    return facts


def _fingerprint() -> str | None:
    """Of the certificate that is served now."""
    site = nginx_site.current_site()
    return certificate.fingerprint(site.cert_file) if site is not None else None


_QUESTIONS: Mapping[str, Callable[[], Any]] = {
    "names": names.own_names,
    "interfaces": lambda: [item.to_json() for item in interfaces()],
    "disks": lambda: [disk.to_json() for disk in disks()],
    # Nothing is sent for this: pages ask it often.
    "network": lambda: connectivity(ask_gateway=False).to_json(),
    "boot_medium": boot_medium,
    "fingerprint": _fingerprint,
}
