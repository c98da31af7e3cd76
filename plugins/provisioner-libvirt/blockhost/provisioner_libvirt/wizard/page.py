"""The page `/wizard/libvirt`: where disks lie, and which addresses machines get."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from flask import Blueprint, current_app, jsonify, redirect, render_template, request, session
from werkzeug.wrappers import Response

from blockhost.errors import AnswerError, BlockhostError
from blockhost.provisioner_libvirt.answers import DEFAULTS, FIELDS, LibvirtAnswer, to_form
from blockhost.provisioner_libvirt.wizard.look import ACTION
from blockhost.provisioner_libvirt.wizard.proposal import propose, require_free

STEP_ID = "libvirt"
SESSION_KEY = "libvirt"
#: What was found on this host, kept with the session: looking takes seconds.
FOUND_KEY = "libvirt_found"

blueprint = Blueprint(
    f"provisioner_{STEP_ID}",
    __name__,
    url_prefix=f"/wizard/{STEP_ID}",
    template_folder="templates",
    static_folder="static",
)


# With and without the slash, so that a client's POST is never answered by a redirect.
@blueprint.get("", strict_slashes=False)
def show() -> str:
    """The form, with what was answered before or what this host and its network suggest."""
    answered = session.get(SESSION_KEY)
    found = _look()
    return _page(to_form(answered) if isinstance(answered, Mapping) else {**DEFAULTS, **propose(found)})


@blueprint.post("", strict_slashes=False)
def save() -> Response | tuple[str, int]:
    """Keep the answers and go on; or the form again, still filled in, with the reason."""
    form = {name: request.form.get(name, "") for name in FIELDS}
    try:
        answer = _checked(form)
    except AnswerError as error:
        return _page(form, error), 422
    session[SESSION_KEY] = answer.to_session()
    return redirect(_next_page(), code=303)


@blueprint.get("/check")
def check() -> Response:
    """What is wrong with the form as it is, while it is being filled in: `{field, message}` or `{}`."""
    try:
        _checked({name: request.args.get(name, "") for name in FIELDS})
    except AnswerError as error:
        return jsonify(field=error.field, message=str(error))
    return jsonify({})


def _checked(form: Mapping[str, str]) -> LibvirtAnswer:
    answer = LibvirtAnswer.from_form(form)
    require_free(answer, _found())
    return answer


def _look() -> Mapping[str, Any]:
    """Have the worker look around. Without it the form is empty, and works."""
    action = current_app.extensions.get("wizard_action")
    if action is not None:
        try:
            session[FOUND_KEY] = cast(Callable[..., dict[str, Any]], action)(ACTION, {})
        except BlockhostError as error:
            current_app.logger.warning("%s: %s", ACTION, error)
    return _found()


def _found() -> Mapping[str, Any]:
    found = session.get(FOUND_KEY)
    return found if isinstance(found, Mapping) else {}


def _page(form: Mapping[str, str], error: AnswerError | None = None) -> str:
    return render_template(
        "provisioner_libvirt/page.html", step_id=STEP_ID, form=form, error=error, found=_found()
    )


def _next_page() -> str:
    """The installer knows the order of its pages; it offers `wizard_next` to templates and to us."""
    offered: dict[str, Any] = {}
    current_app.update_template_context(offered)
    wizard_next = offered.get("wizard_next") or current_app.jinja_env.globals["wizard_next"]
    return cast(Callable[[str], str], wizard_next)(STEP_ID)
