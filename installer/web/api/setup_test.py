"""`POST /api/setup-test`: the whole wizard in one request, on appliances made for testing only.

It asks for the one-time code like the login page, and reads every section by the same rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, abort, jsonify, session, url_for

from blockhost.errors import AnswerError
from blockhost.fields import Fields
from blockhost.i18n import gettext as _
from installer.discovery import Plugin
from installer.web import login, wizard
from installer.web.api import body

if TYPE_CHECKING:
    from installer.answers import Answer, PluginAnswer

api = Blueprint("setup_test", __name__, url_prefix="/api")


@api.post("/setup-test")
def run() -> tuple[Response, int]:
    here = wizard.current()
    if not here.is_testing():
        abort(404)
    fields = body.fields()
    refusal = login.attempt(body.optional_text(fields, "otp"))
    if refusal is not None:
        abort(429 if refusal.status == 429 else 401, refusal.message)
    session.update(_read(fields))
    body.refuse_unknown(fields)
    here.secrets.move(session, here.worker.keep)
    started = here.worker.start(here.answers())
    document = {"status": "running", "run_id": started.get("run_id"), "poll_url": url_for("finalize.status")}
    return jsonify(document), 202


def _read(fields: Fields) -> dict[str, Any]:
    """Every section as the session keeps it. Aborts with 422, naming each field that is refused."""
    from installer.answers import (  # noqa: PLC0415
        AdminCommandsAnswer,
        Ipv6Answer,
        NetworkAnswer,
        StorageAnswer,
        WalletAnswer,
        all_problems,
        problem_of,
    )

    plugins = wizard.current().plugins
    if plugins.engine is None or plugins.provisioner is None or plugins.engine_manifest is None:
        abort(503, _("a plugin is broken"))
    values: dict[str, Any] = {}
    problems: list[str] = []
    readers: dict[str, Callable[[Mapping[str, object]], Answer]] = {
        "wallet": WalletAnswer.from_form,
        "network": NetworkAnswer.from_form,
        "storage": StorageAnswer.from_form,
        "engine": lambda form: _plugin(plugins.engine, form),
        "provisioner": lambda form: _plugin(plugins.provisioner, form),
        "ipv6": Ipv6Answer.from_form,
        "admin_commands": AdminCommandsAnswer.from_form,
    }
    for section, read in readers.items():
        form = fields.optional(section, dict, {})
        try:
            answer = read(form)
            if isinstance(answer, WalletAnswer):
                answer.check(plugins.engine_manifest, plugins.engine.module)
            values |= answer.to_session()
        except AnswerError as error:
            problems += [f"{section}.{each.field}: {problem_of(each)}" for each in all_problems(error)]
    if problems:
        abort(422, "; ".join(problems))
    return values


def _plugin(plugin: Plugin | None, given: Mapping[str, object]) -> PluginAnswer:
    from installer.answers import PluginAnswer  # noqa: PLC0415

    assert plugin is not None
    form = {name: value for name, value in given.items() if name != "name"}
    return PluginAnswer.from_form(plugin.kind, plugin.manifest, plugin.module, form)
