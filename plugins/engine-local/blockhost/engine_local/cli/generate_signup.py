"""`blockhost-generate-signup`: the static page that visitors see."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from blockhost.engine_local.cli import program
from blockhost.engine_local.signup import page
from blockhost.i18n import gettext as _


def main(argv: Sequence[str] | None = None) -> int:
    made = program.parser("blockhost-generate-signup", _("Write the page that visitors of this host see."))
    made.add_argument("--config", type=Path, metavar="FILE", help=_("instead of blockhost.yaml"))
    made.add_argument(
        "--web3-config", type=Path, metavar="FILE", help=_("taken for other engines' sake; there is no chain")
    )
    made.add_argument("--output", metavar="FILE", help=_("where to write it; `-` prints it"))
    made.add_argument("--template", type=Path, metavar="FILE", help=_("a Jinja template of your own"))
    made.add_argument(
        "--serve", type=_port, metavar="PORT", help=_("show it on http://127.0.0.1:PORT/ instead")
    )
    made.set_defaults(action=_generate)
    return program.run(made, argv)


def _generate(words: argparse.Namespace) -> int:
    if words.serve is not None:
        return _serve(page.render(config=words.config, template=words.template), words.serve)
    if words.output == "-":
        print(page.render(config=words.config, template=words.template), end="")
        return 0
    output = Path(words.output).absolute() if words.output else None
    print(page.publish(output, config=words.config, template=words.template))
    return 0


def _serve(text: str, port: int) -> int:
    class Handler(BaseHTTPRequestHandler):
        """The page, whatever is asked for."""

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_arguments: object) -> None:
            """A preview keeps no log."""

    with HTTPServer(("127.0.0.1", port), Handler) as server:
        print(f"http://127.0.0.1:{server.server_port}/", file=sys.stderr, flush=True)
        server.serve_forever()
    return 0


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise argparse.ArgumentTypeError(
            _("expected a port from 0 to 65535, got “%(found)s”") % {"found": text[:20]}
        )
    return int(text)
