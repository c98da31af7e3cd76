"""`GET /healthz`: the wizard answers. Open, and says nothing else."""

from __future__ import annotations

from functools import cache

from flask import Blueprint, Response, jsonify

from blockhost import paths

api = Blueprint("health", __name__)


@api.get("/healthz")
def healthz() -> Response:
    return jsonify(status="ok", version=version())


@cache
def version() -> str:
    """The installed version: a file of the package, or what Python knows of it."""
    try:
        return (paths.share_dir() / "version").read_text().strip()
    except OSError:
        pass
    from importlib import metadata  # noqa: PLC0415  (only a development tree gets here)

    try:
        return metadata.version("blockhost")
    except metadata.PackageNotFoundError:
        return "0"
