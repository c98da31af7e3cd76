"""`python3 -m installer.web`: serve the wizard on a Unix socket, for nginx."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import waitress

from blockhost import paths
from installer.discovery import discover
from installer.web.app import create_app
from installer.web.client import WorkerClient
from installer.web.facts import HostFacts
from installer.web.wizard import THREADS, Wizard

#: Above every body that the guard lets through, multipart's own bytes included.
MAX_BODY = 1024 * 1024


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="installer.web", description="Serve the setup wizard.")
    parser.add_argument("--socket", type=Path, default=paths.wizard_run_dir() / "wizard.sock")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    worker = WorkerClient()
    here = Wizard(
        plugins=discover(),
        worker=worker,
        host=HostFacts(worker),
        session_dir=paths.wizard_run_dir() / "sessions",
    )
    waitress.serve(
        create_app(here),
        # nginx's group comes from the directory, which is setgid www-data.
        unix_socket=str(options.socket),
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


if __name__ == "__main__":
    sys.exit(main())
