"""Whatever goes wrong, as a page or as JSON: what happened, and what to try."""

from __future__ import annotations

import logging

from flask import Flask, Response, jsonify, make_response, render_template, request
from werkzeug.exceptions import HTTPException

from blockhost.errors import AnswerError, BlockhostError, WorkerError
from blockhost.i18n import gettext as _
from installer.web import guard, wizard

log = logging.getLogger(__name__)

#: The worker's refusals as HTTP status codes; what is not listed is a bad request.
WORKER_STATUS = {
    "unreachable": 503,
    "running": 409,
    "plan-changed": 409,
    "irreversible": 409,
    "not-found": 404,
    "internal": 500,
}


def install(app: Flask) -> None:
    app.register_error_handler(Exception, response_to)


def response_to(error: Exception) -> Response:
    """The answer to an error: a page, or JSON for the API."""
    status, message, hint = _describe(error)
    extra = {}
    if isinstance(error, WorkerError) and "run_id" in error.data:
        extra["run_id"] = error.data["run_id"]
    if guard.wants_json():
        response = jsonify({"error": message, **({"hint": hint} if hint else {}), **extra})
    else:
        response = make_response(
            render_template("error.html", status=status, message=message, hint=hint, plugin=_plugin_name())
        )
    response.status_code = status
    if status == 503:
        response.headers["Retry-After"] = "3"
    if isinstance(error, HTTPException):
        for name, value in error.get_headers(request.environ):
            if name == "Allow":
                response.headers[name] = value
    return response


def _describe(error: Exception) -> tuple[int, str, str]:
    """Status, message and hint; only intentional errors speak for themselves."""
    match error:
        case WorkerError():
            return WORKER_STATUS.get(error.code, 400), str(error), error.hint
        case AnswerError():
            return 422, f"{error.field}: {str(error).removeprefix(f'{error.field}: ')}", error.hint
        case BlockhostError():
            return 500, str(error), error.hint
        case HTTPException():
            return error.code or 500, str(error.description or error.name), ""
        case _:
            log.error("error while answering %s %s", request.method, request.path, exc_info=error)
            hint = _("Try again. What went wrong stands in the log: journalctl -u blockhost-wizard")
            return 500, _("This page failed because of an error in the software."), hint


def _plugin_name() -> str:
    """The plugin whose page failed, if it was one's."""
    plugins = wizard.current().plugins
    for plugin in (plugins.engine, plugins.provisioner):
        if plugin is not None and request.blueprint == plugin.module.blueprint.name:
            return plugin.manifest.display_name
    return ""
