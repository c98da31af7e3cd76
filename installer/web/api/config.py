"""The answers, encrypted under the admin's signature: out, and in again; and the validation report."""

from __future__ import annotations

from flask import Blueprint, Response, abort, jsonify, redirect, request, session
from werkzeug.wrappers.response import Response as AnyResponse

from blockhost.i18n import gettext as _
from installer.web import guard, wizard

api = Blueprint("config", __name__, url_prefix="/api")

FILE_NAME = "blockhost-config.enc"
MAX_SIGNATURE = 8192


@api.get("/finalize/config")
def backup() -> Response:
    """The encrypted answers as a download."""
    here = wizard.current()
    ciphertext = here.worker.backup(here.answers())
    response = Response(ciphertext + "\n", mimetype="application/octet-stream")
    response.headers["Content-Disposition"] = f'attachment; filename="{FILE_NAME}"'
    return response


@api.post("/restore-config")
def restore() -> Response | AnyResponse:
    """Take the answers of a backup into this session; a browser is sent on to the next page."""
    here = wizard.current()
    signature = request.form.get("admin_signature", "").replace("\r\n", "\n").strip()
    file = request.files.get("config_file")
    if not signature or len(signature) > MAX_SIGNATURE:
        abort(422, _("admin_signature: expected the signature that the backup was made with"))
    if file is None:
        abort(422, _("config_file: expected the file %(name)s") % {"name": FILE_NAME})
    try:
        ciphertext = file.read(guard.max_body(request.path)).decode("ascii").strip()
    except UnicodeDecodeError:
        abort(422, _("config_file: this is not a backup of a configuration"))
    restored = here.flow.answers(here.worker.restore(signature, ciphertext))
    session.update(restored)
    here.secrets.move(session, here.worker.keep)
    target = here.flow.first_unanswered(session).url
    if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
        return redirect(target, 303)
    return jsonify(status="restored", redirect=target)


@api.get("/validation-output")
def validation() -> Response:
    answer = wizard.current().worker.validate()
    return jsonify(success=bool(answer.get("success")), output=str(answer.get("output", "")))
