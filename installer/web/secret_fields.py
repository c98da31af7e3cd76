"""Secrets on their way through the wizard: handed to the worker, never kept here.

Which answers are secret is data: the wallet's signature, and what manifests name in
`config_keys.secrets`. Plugin views know nothing of this: what they stored is moved afterwards,
before the session is written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from installer.discovery import Plugins
from installer.web.sessions import KeptSecret, kept

SIGNATURE = "admin_signature"

Keep = Callable[[str, str], None]


class SecretFields:
    """Moves each secret out of a session into `keep(name, value)`."""

    def __init__(self, sections: Mapping[str, tuple[str, ...]]) -> None:
        self._sections = dict(sections)

    @classmethod
    def of(cls, plugins: Plugins) -> SecretFields:
        """The secrets that the installed plugins' manifests name."""
        return cls({manifest.session_key: manifest.secrets for manifest in plugins.manifests.values()})

    def move(self, session: MutableMapping[str, Any], keep: Keep) -> None:
        """Replace every secret by its placeholder, once the worker has it.

        Raises:
            WorkerError: the worker did not take one; `drop` then removes what is left.
        """
        for holder, key in self._places(session):
            if _is_plain(holder[key]):
                keep(key, _as_text(holder[key]))
                holder[key] = kept(key)

    def drop(self, session: MutableMapping[str, Any]) -> None:
        """Forget every secret that is still here."""
        for holder, key in self._places(session):
            if _is_plain(holder[key]):
                del holder[key]

    def _places(self, session: MutableMapping[str, Any]) -> list[tuple[MutableMapping[str, Any], str]]:
        places = [(session, SIGNATURE)] if SIGNATURE in session else []
        for section, names in self._sections.items():
            answers = session.get(section)
            if isinstance(answers, MutableMapping):
                places += [(answers, name) for name in names if name in answers]
        return places


def _is_plain(value: Any) -> bool:
    return not isinstance(value, KeptSecret) and value not in ("", None)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
