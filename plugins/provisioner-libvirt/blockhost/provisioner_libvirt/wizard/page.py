"""The page `/wizard/libvirt`: where disks lie, and which addresses machines get."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from flask import Blueprint, current_app, redirect, render_template, request, session
from werkzeug.wrappers import Response

from blockhost.errors import AnswerError
from blockhost.provisioner_libvirt.answers import DEFAULTS, FIELDS, LibvirtAnswer, to_form
from blockhost.provisioner_libvirt.wizard.proposal import propose

STEP_ID = "libvirt"
SESSION_KEY = "libvirt"

blueprint = Blueprint(
    f"provisioner_{STEP_ID}", __name__, url_prefix=f"/wizard/{STEP_ID}", template_folder="templates"
)


# With and without the slash, so that a client's POST is never answered by a redirect.
@blueprint.get("", strict_slashes=False)
def show() -> str:
    """The form, with what was answered before or what this host's network suggests."""
    answered = session.get(SESSION_KEY)
    return _page(to_form(answered) if isinstance(answered, Mapping) else {**DEFAULTS, **propose()})


@blueprint.post("", strict_slashes=False)
def save() -> Response | tuple[str, int]:
    """Keep the answers and go on; or the form again, still filled in, with the reason."""
    form = {name: request.form.get(name, "") for name in FIELDS}
    try:
        session[SESSION_KEY] = LibvirtAnswer.from_form(form).to_session()
    except AnswerError as error:
        return _page(form, error), 422
    return redirect(_next_page(), code=303)


def _page(form: Mapping[str, str], error: AnswerError | None = None) -> str:
    return render_template("provisioner_libvirt/page.html", step_id=STEP_ID, form=form, error=error)


def _next_page() -> str:
    """The installer knows the order of its pages; it offers `wizard_next` to templates and to us."""
    offered: dict[str, Any] = {}
    current_app.update_template_context(offered)
    wizard_next = offered.get("wizard_next") or current_app.jinja_env.globals["wizard_next"]
    return cast(Callable[[str], str], wizard_next)(STEP_ID)
