"""The page `/wizard/local`: the first plan that this host offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from flask import Blueprint, current_app, redirect, render_template, request, session
from werkzeug.wrappers import Response

from blockhost.engine_local import SESSION_KEY, STEP_ID
from blockhost.engine_local.answers import DEFAULTS, AnswersRefused, parse_answers, to_form
from blockhost.engine_local.ledger.plans import LIMITS, MAX_NAME
from blockhost.errors import AnswerError

blueprint = Blueprint(
    f"engine_{STEP_ID}", __name__, url_prefix=f"/wizard/{STEP_ID}", template_folder="templates"
)


# With and without the slash, so that a client's POST is never answered by a redirect.
@blueprint.get("", strict_slashes=False)
def show() -> str:
    """The form, with what was answered before or sensible defaults."""
    answered = session.get(SESSION_KEY)
    return _page(to_form(answered) if isinstance(answered, Mapping) else DEFAULTS)


@blueprint.post("", strict_slashes=False)
def save() -> Response | tuple[str, int]:
    """Keep the answers and go on; or the form again, still filled in, with the reason."""
    form = {key: request.form.get(key, "") for key in DEFAULTS}
    try:
        session[SESSION_KEY] = parse_answers(form)
    except AnswersRefused as error:
        return _page(form, error.problems), 422
    return redirect(_next_page(), code=303)


def _page(form: Mapping[str, str], problems: Sequence[AnswerError] = ()) -> str:
    return render_template(
        "engine_local/plan.html",
        step_id=STEP_ID,
        form=form,
        limits=LIMITS,
        max_name=MAX_NAME,
        errors={problem.field: str(problem) for problem in problems},
    )


def _next_page() -> str:
    """The installer knows the order of its pages; it offers `wizard_next` to templates and to us."""
    offered: dict[str, Any] = dict(current_app.jinja_env.globals)
    if "wizard_next" not in offered:
        current_app.update_template_context(offered)
    return cast(Callable[[str], str], offered["wizard_next"])(STEP_ID)
