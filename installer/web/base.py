"""What both applications of the wizard share: guard, sessions, errors, texts. No page, no plugin."""

from __future__ import annotations

from pathlib import Path

from flask import Flask, Request
from jinja2 import FileSystemBytecodeCache
from werkzeug.middleware.proxy_fix import ProxyFix

from blockhost.files import make_dir
from installer.web import errors, guard, login, texts, theme, wizard
from installer.web.sessions import ServerSessions, SessionStore

#: Fields of one form.
MAX_FORM_PARTS = 200


class CappedRequest(Request):
    """A request whose body is capped by its path; Flask's own cap is one for all."""

    max_form_parts = MAX_FORM_PARTS

    @property
    def max_content_length(self) -> int:  # type: ignore[override]
        return guard.max_body(self.path)


def base_app(here: wizard.Wizard) -> Flask:
    """An application with the login page and nothing else, closed to everybody without a session."""
    app = Flask("installer.web")
    app.request_class = CappedRequest
    app.extensions[wizard.EXTENSION] = here
    app.session_interface = ServerSessions(SessionStore(here.session_dir))
    # nginx is the only one that can connect, and it replaces what a client claims.
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]
    _keep_compiled_templates(app, here.session_dir.parent / "templates")
    texts.install(app)
    guard.install(app)
    errors.install(app)
    for blueprint in (login.page, theme.page):
        app.register_blueprint(blueprint)
    return app


def _keep_compiled_templates(app: Flask, directory: Path) -> None:
    """After a restart the first page need not compile its templates again."""
    make_dir(directory, mode=0o700)
    app.jinja_env.bytecode_cache = FileSystemBytecodeCache(str(directory))
