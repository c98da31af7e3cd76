"""`python3 -m installer.web`: serve the wizard on a Unix socket, for nginx."""

from __future__ import annotations

import argparse
import logging
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import waitress
from flask import Flask

from blockhost import paths
from blockhost.i18n import gettext as _
from installer.discovery import Plugins
from installer.web.base import base_app
from installer.web.client import WorkerClient
from installer.web.facts import HostFacts
from installer.web.front import Front
from installer.web.wizard import THREADS, Wizard

#: Above every body that the guard lets through, multipart's own bytes included.
MAX_BODY = 1024 * 1024
#: Later than the first page; the start itself stays short.
WARM_AFTER_S = 2.0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="installer.web", description=_("Serve the setup wizard."))
    parser.add_argument("--socket", type=Path, default=paths.wizard_run_dir() / "wizard.sock")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    worker = WorkerClient()
    host, sessions = HostFacts(worker), paths.wizard_run_dir() / "sessions"

    def load() -> Flask:
        from installer.discovery import discover  # noqa: PLC0415
        from installer.web.app import create_app  # noqa: PLC0415

        return create_app(Wizard(plugins=discover(), worker=worker, host=host, session_dir=sessions))

    nothing = Wizard(plugins=Plugins(), worker=worker, host=host, session_dir=sessions)
    front = Front(base_app(nothing), load)
    warm = threading.Timer(WARM_AFTER_S, _warm_up, (front,))
    warm.daemon = True
    warm.start()
    waitress.serve(
        front,
        unix_socket=str(options.socket),
        # nginx's group comes from the directory, which is setgid www-data.
        unix_socket_perms="660",
        threads=THREADS,
        ident=None,
        # ProxyFix reads them; only nginx can connect, and it replaces a client's own.
        clear_untrusted_proxy_headers=False,
        max_request_body_size=MAX_BODY,
        channel_timeout=60,
        _quiet=True,
    )
    return 0


def _warm_up(front: Front) -> None:
    """Load what the next pages need, while the operator reads the first one."""
    import installer.answers  # noqa: F401, PLC0415

    app = front.whole()
    for name in app.jinja_env.list_templates():
        app.jinja_env.get_template(name)


if __name__ == "__main__":
    sys.exit(main())
