"""`python3 -m admin --port 8443`: the panel, on loopback only."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

import waitress

from admin.app import create_app
from blockhost import service_state
from blockhost.i18n import gettext as _

#: Pages are quick and logins wait for a program, so a few threads do.
THREADS = 8


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="blockhost-admin", description=_("The panel, on loopback only."))
    parser.add_argument("--port", type=int, default=8443, help=_("port on 127.0.0.1 (8443)"))
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    server = waitress.create_server(
        create_app(),
        host="127.0.0.1",
        port=options.port,
        threads=THREADS,
        ident="",
        connection_limit=200,
        channel_timeout=30,
        max_request_body_size=64 * 1024,
        # nginx replaces these headers; app.py reads them through ProxyFix.
        clear_untrusted_proxy_headers=False,
    )
    # It listens now: whoever waits for this unit gets an answer, not nginx's 502.
    service_state.tell(service_state.READY)
    server.run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
