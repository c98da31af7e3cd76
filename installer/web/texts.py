"""Translations of pages: Flask-Babel with the catalogs of the common library, or plain English.

Flask-Babel is loaded only where a catalog is installed: without one it would cost start-up time
and memory to translate nothing.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, request

from blockhost import i18n, paths


def install(app: Flask) -> None:
    """Give templates `_`, `gettext` and `ngettext`, and `locale` for the page's lang attribute."""
    languages = _languages()
    app.jinja_env.add_extension("jinja2.ext.i18n")
    if not languages or not _install_babel(app, languages):
        app.jinja_env.install_gettext_callables(i18n.gettext, i18n.ngettext, newstyle=True)
        app.jinja_env.globals["locale"] = lambda: "en"


def _languages() -> list[str]:
    """Languages that a catalog is installed for."""
    catalogs = paths.at("/usr/share/locale").glob(f"*/LC_MESSAGES/{i18n.DOMAIN}.mo")
    return sorted(catalog.parent.parent.name for catalog in catalogs)


def _install_babel(app: Flask, languages: list[str]) -> bool:
    try:
        import flask_babel  # noqa: PLC0415  (slow to import, and of no use without catalogs)
    except ImportError:
        return False

    def choose() -> str:
        return request.accept_languages.best_match(["en", *languages]) or "en"

    app.config["BABEL_TRANSLATION_DIRECTORIES"] = str(paths.at("/usr/share/locale"))
    app.config["BABEL_DOMAIN"] = i18n.DOMAIN
    try:
        flask_babel.Babel(app, locale_selector=choose)
    except TypeError:  # 2.0 (Debian 12) has a decorator instead
        babel = flask_babel.Babel(app)
        babel.localeselector(choose)
    app.jinja_env.install_gettext_callables(flask_babel.gettext, flask_babel.ngettext, newstyle=True)
    app.jinja_env.globals["locale"] = lambda: _locale(flask_babel)
    return True


def _locale(flask_babel: Any) -> str:
    return str(flask_babel.get_locale()).replace("_", "-")
