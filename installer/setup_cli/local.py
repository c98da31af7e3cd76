"""A setup on this very machine: its worker's socket, for root."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from blockhost import paths
from blockhost.errors import WorkerError
from blockhost.i18n import gettext as _
from installer.web.client import WorkerClient


class Setup(Protocol):
    """What a command needs of a setup, wherever it is."""

    def status(self) -> dict[str, Any]: ...

    def events(self, after: int, *, idle_s: float = ...) -> Iterator[dict[str, Any] | None]: ...

    def retry(self, step_id: str | None = None) -> dict[str, Any]: ...

    def reset(self, *, force: bool = False) -> dict[str, Any]: ...

    def validate(self) -> dict[str, Any]: ...


def worker() -> WorkerClient:
    """The worker of this machine.

    Raises:
        WorkerError: none is here; the hint says how to reach another machine's.
    """
    socket = paths.setup_run_dir() / "worker.sock"
    try:
        is_there = socket.exists()
    except PermissionError:
        is_there = True  # the connection will say why not
    if not is_there:
        raise WorkerError(
            _("no setup worker runs on this machine"),
            code="unreachable",
            hint=_(
                "For another machine give --url and --fingerprint; here: systemctl start blockhost-worker"
            ),
        )
    return WorkerClient(socket)


def has_worker() -> bool:
    """True on a host whose worker we may ask."""
    try:
        return (paths.setup_run_dir() / "worker.sock").exists()
    except PermissionError:
        return False
