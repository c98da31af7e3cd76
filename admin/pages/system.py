"""`/`: system and storage; `GET /api/system`, `GET /api/storage`."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template, request

from admin import commands
from admin.facts.storage import FULL_PERCENT, storage
from admin.facts.system import system
from admin.guard import Reply

blueprint = Blueprint("system", __name__)


@blueprint.get("/")
def show() -> Reply:
    return page()


@blueprint.get("/api/system")
def system_facts() -> dict[str, Any]:
    return system()


@blueprint.get("/api/storage")
def storage_facts() -> list[dict[str, Any]]:
    return storage()


def page(*, error: str = "", field: str = "", form: dict[str, str] | None = None) -> str:
    """The page; with an error, the form as it was sent."""
    facts = system()
    values = {"hostname": facts["hostname"], "path_prefix": commands.path_prefix(), **(form or {})}
    return render_template(
        "system.html",
        system=facts,
        storage=storage(),
        full_percent=FULL_PERCENT,
        form=values,
        error=error,
        field=field,
        saved=request.args.get("saved") == "1",
    )
