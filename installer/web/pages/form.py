"""What the pages with a form have in common: show it, save it, or show it again with the reasons.

The answers' rules are imported where a page needs them: the first page after a start needs none,
and they bring a YAML parser along. `__main__` loads them once that page is out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import redirect, render_template, request, session
from werkzeug.wrappers.response import Response

from blockhost.errors import AnswerError
from installer.web import wizard

SECRET_FIELDS = frozenset({"admin_signature"})

Shown = str | tuple[str, int] | Response


def saved(step_id: str, values: Mapping[str, Any]) -> Response:
    """Keep an answer and go on."""
    session.update(values)
    return redirect(wizard.current().flow.next_url(step_id), 303)


def shown(template: str, form: Mapping[str, str], **variables: Any) -> str:
    """The page with its form filled in."""
    return render_template(template, form=form, errors={}, error=None, **variables)


def refused(template: str, error: AnswerError, **variables: Any) -> tuple[str, int]:
    """The page again, with what was typed and each reason at its field. Secrets are typed again."""
    from installer.answers import all_problems, problem_of  # noqa: PLC0415

    messages: dict[str, str] = {}
    for problem in all_problems(error):
        messages.setdefault(problem.field, problem_of(problem))
    form = {name: value for name, value in request.form.items() if name not in SECRET_FIELDS}
    page = render_template(template, form=form, errors=messages, error=error, hint=error.hint, **variables)
    return page, 422
