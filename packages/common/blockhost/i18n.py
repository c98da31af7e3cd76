"""Texts that a user sees, in the user's language; the English text is the key.

Commands and steps use these functions with the catalogs of the environment's locale; pages use
Flask-Babel with the same catalogs (domain `blockhost`).
"""

from __future__ import annotations

import gettext as _gettext
from functools import cache

from blockhost import paths

DOMAIN = "blockhost"


@cache
def _catalog() -> _gettext.NullTranslations:
    return _gettext.translation(DOMAIN, localedir=str(paths.at("/usr/share/locale")), fallback=True)


def gettext(text: str) -> str:
    """`text` in the language of the environment (LANGUAGE, LC_ALL, LC_MESSAGES, LANG)."""
    return _catalog().gettext(text)


def ngettext(singular: str, plural: str, number: int) -> str:
    """The form that fits `number`."""
    return _catalog().ngettext(singular, plural, number)


def gettext_noop(text: str) -> str:
    """Mark a text of a module-level constant for translation; translate it where it is shown."""
    return text
