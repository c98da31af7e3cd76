"""`POST /api/system/hostname`, `GET|POST /api/admin/path`: for programs, and for the page's forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, abort, redirect, request, url_for

from admin import commands, guard
from admin.guard import Reply
from admin.pages import system
from blockhost.errors import RootAgentError
from blockhost.i18n import gettext as _

blueprint = Blueprint("settings", __name__)


@blueprint.post("/api/system/hostname")
def set_hostname() -> Reply:
    def act(name: str) -> str:
        commands.set_hostname(name)
        return url_for("system.show", saved=1)

    return _save("hostname", act)


@blueprint.get("/api/admin/path")
def path() -> dict[str, Any]:
    return {"path_prefix": commands.path_prefix()}


@blueprint.post("/api/admin/path")
def set_path() -> Reply:
    """The page is elsewhere afterwards; the cookie is for the old path, so a new login follows."""
    return _save("path_prefix", lambda prefix: commands.set_path_prefix(prefix) + "/")


def _save(field: str, act: Callable[[str], str]) -> Reply:
    value = _value(field)
    try:
        following = act(value)
    except RootAgentError as error:
        if guard.wants_json():
            return {"ok": False, "error": str(error)}, 422
        return system.page(error=str(error), field=field, form={field: value}), 422
    return ({"ok": True}, 200) if guard.wants_json() else redirect(following, code=303)


def _value(field: str) -> str:
    document = request.get_json(silent=True) if request.is_json else request.form.to_dict()
    if not isinstance(document, dict) or not isinstance(document.get(field), str):
        abort(400, _("Expected %(field)s.") % {"field": field})
    return str(document[field]).strip()
