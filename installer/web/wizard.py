"""What every page and API route of one running wizard shares."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import current_app, session

from installer.discovery import Plugins
from installer.web.client import WorkerClient
from installer.web.flow import Flow
from installer.web.secret_fields import SecretFields

if TYPE_CHECKING:
    from installer.web.facts import HostFacts

EXTENSION = "blockhost"
THREADS = 32
#: Each event stream holds a thread; the other half stays for pages.
MOST_STREAMS = THREADS // 2
#: How long this host's names are good for: addresses change during setup.
NAMES_S = 30.0


@dataclass(slots=True)
class Wizard:
    """The parts of one wizard."""

    plugins: Plugins
    worker: WorkerClient
    host: HostFacts
    session_dir: Path
    flow: Flow = field(init=False)
    secrets: SecretFields = field(init=False)
    streams: threading.BoundedSemaphore = field(init=False)
    #: Tokens of links to a new address that is being tried, and the sessions they take along.
    trials: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.streams = threading.BoundedSemaphore(MOST_STREAMS)
        self.use(self.plugins)

    def use(self, plugins: Plugins) -> None:
        """Take these plugins; only while the wizard is being put together."""
        self.plugins = plugins
        self.flow = Flow(plugins)
        self.secrets = SecretFields.of(plugins)

    def answers(self) -> dict[str, Any]:
        """This session's answers, as the worker takes them."""
        return self.flow.answers(session)

    def names(self) -> frozenset[str]:
        """DNS names that this host answers to, in small letters."""
        names = self.host.get(max_age_s=NAMES_S).get("names", ())
        return frozenset(str(name).lower() for name in names)

    def is_testing(self) -> bool:
        """True on an appliance made for testing: the worker sees the marker, this process may not."""
        return self.host.get().get("testing") is True


def current() -> Wizard:
    """The wizard that serves this request."""
    found = current_app.extensions[EXTENSION]
    assert isinstance(found, Wizard)
    return found
