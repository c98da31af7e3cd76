"""The setup worker: root, one socket, no network. `python3 -m installer.finalize.worker`

It goes on by itself with a run that was interrupted, and then answers requests until it is told
to end. A kill at any point costs nothing that was acknowledged: see `run` and `supervisor`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import signal
import socket
import sys
import threading
from collections.abc import Sequence

from blockhost import service_state
from blockhost.errors import BlockhostError, FieldError
from blockhost.fields import Fields
from blockhost.files import make_dir, remove_leftovers
from blockhost.framing import FrameServer, Peer, receive_frame, send_frame
from blockhost.i18n import gettext as _
from blockhost.paths import setup_dir, setup_run_dir
from installer.finalize.commands import Commands
from installer.finalize.events import EventLog
from installer.finalize.supervisor import PLAN, Supervisor
from installer.vault import Vault

log = logging.getLogger("blockhost.worker")

MAX_FRAME = 1024 * 1024
WIZARD_USER = "blockhost-wizard"
#: An event stream says something at least this often, so that a dead peer is noticed.
PING_S = 15.0
REQUEST_DEADLINE_S = 30.0


class Worker:
    """Socket and supervisor together, for one process."""

    def __init__(self, *, plan: str = PLAN) -> None:
        make_dir(setup_dir(), mode=0o700)
        remove_leftovers(setup_dir())  # of a vault that was being written when power failed
        make_dir(setup_run_dir(), mode=0o750, group=_wizard_group())
        self.events = EventLog(setup_dir() / "logs")
        vault = Vault()
        self.supervisor = Supervisor(vault, self.events, plan=plan)
        self._commands = Commands(self.supervisor, vault)
        self._allowed = _allowed_uids()
        self._server = FrameServer(
            setup_run_dir() / "worker.sock", self._serve, mode=0o660, group=_wizard_group(), workers=64
        )

    def run(self) -> None:
        """Serve until `stop`; an interrupted run goes on at once."""
        if self.supervisor.resume():
            log.info("going on with the interrupted setup")
        service_state.tell(service_state.READY)
        self._server.serve_forever()

    def stop(self) -> None:
        self._server.close()
        self.events.close()

    def _serve(self, connection: socket.socket, peer: Peer) -> None:
        if peer.uid not in self._allowed:
            log.warning("refused uid %d", peer.uid)
            send_frame(connection, _refusal(_("you may not talk to the setup worker"), "forbidden"))
            return
        while True:
            request = receive_frame(connection, max_bytes=MAX_FRAME, deadline_s=REQUEST_DEADLINE_S)
            if request is None:
                return
            if isinstance(request, dict) and request.get("command") == "events":
                self._stream(connection, request)
                return
            connection.settimeout(REQUEST_DEADLINE_S)
            send_frame(connection, self._commands.handle(request, peer), max_bytes=MAX_FRAME)

    def _stream(self, connection: socket.socket, request: dict[str, object]) -> None:
        try:
            fields = Fields({**request}, source="request")
            fields.take("command", str)
            after = fields.optional("after", int, 0)
            fields.refuse_unknown()
        except FieldError as error:
            send_frame(connection, _refusal(str(error), "bad-request"))
            return
        connection.settimeout(PING_S)
        for event in self.events.follow(after, idle_s=PING_S):
            send_frame(connection, event or {"type": "ping"}, max_bytes=MAX_FRAME)


def _pat_the_watchdog(stopping: threading.Event) -> None:
    """As long as threads are scheduled here; a run that hangs has its own deadlines."""
    period_us = int(os.environ.get("WATCHDOG_USEC") or 0)
    while period_us and not stopping.wait(period_us / 2e6):
        service_state.tell(service_state.ALIVE)


def _allowed_uids() -> frozenset[int]:
    allowed = {0, os.geteuid()}
    with contextlib.suppress(KeyError):
        allowed.add(pwd.getpwnam(WIZARD_USER).pw_uid)
    return frozenset(allowed)


def _wizard_group() -> str | None:
    with contextlib.suppress(KeyError):
        pwd.getpwnam(WIZARD_USER)
        return WIZARD_USER
    return None


def _refusal(error: str, code: str) -> dict[str, object]:
    return {"ok": False, "error": error, "hint": "", "code": code}


def main(argv: Sequence[str] | None = None, *, plan: str = PLAN) -> int:
    """Run the worker until SIGTERM."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments:
        print("usage: python3 -m installer.finalize.worker", file=sys.stderr)  # noqa: T201
        return 2
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    os.umask(0o077)
    try:
        worker = Worker(plan=plan)
    except (BlockhostError, OSError) as error:
        log.error("%s", error)
        return 1
    stopping = threading.Event()

    def stop(*_: object) -> None:
        stopping.set()
        # In a thread: closing waits for handlers, and this frame may hold a lock they need.
        threading.Thread(target=worker.stop, daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    threading.Thread(target=_pat_the_watchdog, args=(stopping,), daemon=True).start()
    worker.run()
    service_state.tell(service_state.STOPPING)
    logging.shutdown()
    # The step at work is ended by its guard when this process is gone; its record says that it
    # was in progress, and the next worker asks its check.
    os._exit(0)


if __name__ == "__main__":
    raise SystemExit(main())
