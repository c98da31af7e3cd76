"""The peer of the wizard: the least that Flask can be, under the same server with the same threads."""

from __future__ import annotations

import sys

import flask
import waitress

app = flask.Flask(__name__)


@app.get("/login")
def page() -> str:
    return "<!doctype html><title>bare</title><p>A page."


if __name__ == "__main__":
    waitress.serve(app, unix_socket=sys.argv[1], unix_socket_perms="600", threads=32, ident="")
