"""Secrets stay out of what is stored and shown: a placeholder stands where the value was.

`{"$secret": "NAME"}` in a session, a run header or a step's configuration means: the vault has it
under NAME.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from blockhost.secret import Secret

PLACEHOLDER = "$secret"


def placeholder(name: str) -> dict[str, str]:
    """What stands in a stored document for the secret called `name`."""
    return {PLACEHOLDER: name}


def is_placeholder(value: object) -> bool:
    """True for exactly one placeholder."""
    return isinstance(value, Mapping) and set(value) == {PLACEHOLDER} and isinstance(value[PLACEHOLDER], str)


def resolve_secrets(document: Any, get: Callable[[str], Secret]) -> Any:
    """A copy of the document with each placeholder replaced by the value that `get` has for it.

    The result holds secrets in the clear: it is for a step or an export, never for a file of ours.
    """
    if is_placeholder(document):
        return get(document[PLACEHOLDER]).reveal()
    if isinstance(document, Mapping):
        return {key: resolve_secrets(value, get) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [resolve_secrets(value, get) for value in document]
    return document


def hide_secrets(document: Any, secrets: Mapping[str, Secret]) -> Any:
    """A copy of the document with a placeholder in place of each text that is one of these secrets."""
    names = {secret.reveal(): name for name, secret in secrets.items() if secret}
    return _hidden(document, names)


def _hidden(document: Any, names: Mapping[str, str]) -> Any:
    if isinstance(document, str):
        return placeholder(names[document]) if document in names else document
    if isinstance(document, Mapping):
        return {key: _hidden(value, names) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [_hidden(value, names) for value in document]
    return document
