"""`python3 -m blockhost.root_agent`: the agent itself."""

from __future__ import annotations

import argparse
import grp
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from blockhost import service_state
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.root_agent import socket_path
from blockhost.root_agent.audit import AuditLog, log_path
from blockhost.root_agent.dispatch import Dispatcher
from blockhost.root_agent.lanes import Lanes
from blockhost.root_agent.loader import load_actions
from blockhost.root_agent.server import AgentServer

log = logging.getLogger("blockhost.root_agent")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="blockhost-root-agent", description=_("The agent itself."))
    parser.add_argument("--socket", type=Path, default=socket_path(), help=_("where to listen"))
    parser.add_argument("--log", type=Path, default=log_path(), help=_("the audit log"))
    parser.add_argument(
        "--actions", type=Path, action="append", help=_("an action module (default: the installed ones)")
    )
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    os.umask(0o077)
    lanes = Lanes()
    try:
        loaded = load_actions(options.actions)
        audit = AuditLog(options.log)
        server = AgentServer(options.socket, Dispatcher(loaded.actions, audit), lanes, group=_group())
    except (BlockhostError, OSError) as error:
        print(f"blockhost-root-agent: {error}", file=sys.stderr)
        return 1
    audit.append(
        {"phase": "started", "actions": len(loaded.actions), "problems": loaded.problems}, is_durable=True
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    log.info("%d actions on %s", len(loaded.actions), options.socket)
    service_state.tell(service_state.READY)
    try:
        server.run()
    finally:
        lanes.close()
    return 0


def _group() -> str | None:
    """The services' group, where it exists (not in a dry run)."""

    try:
        return grp.getgrnam("blockhost").gr_name
    except KeyError:
        return None


if __name__ == "__main__":
    raise SystemExit(main())
