"""Answers back into the document they came from: what `export` writes, `validate` reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from installer.answers.collection import VERSION, Answers
from installer.answers.form import as_text
from installer.answers.plugin import PluginAnswer
from installer.answers.secrets import ADMIN_SIGNATURE

#: Fields whose texts are whole numbers, or lists by comma, in the forms of our own sections.
_NUMBERS = frozenset({"allocation_size", "knock_timeout"})
_LISTS = frozenset({"dns", "knock_ports"})


def to_document(answers: Answers, *, with_secrets: bool) -> dict[str, Any]:
    """The answers file as data: `version` and the sections in the wizard's order.

    Without secrets each one is `{file: NAME}`: the file reads again once that file is there.
    """
    document: dict[str, Any] = {"version": VERSION}
    for section, answer in answers.sections.items():
        if isinstance(answer, PluginAnswer):
            fields: dict[str, Any] = {"name": answer.name}
            for name, text in answer.to_form().items():
                fields[name] = _as_parsed(text, answer.values.get(name))
            for name in answer.values:
                # A page may show its own form without the secret; the file must still ask for it.
                if name in answer.secrets:
                    fields.setdefault(name, "")
            secrets = answer.secrets
        else:
            fields = {name: _native(name, text) for name, text in answer.to_form().items()}
            secrets = frozenset({ADMIN_SIGNATURE})
        document[section] = fields if with_secrets else _without(fields, secrets)
    return document


def _as_parsed(text: str, value: Any) -> Any:
    """The plugin's own value where it means the same as the form's text: a number stays a number."""
    return value if isinstance(value, int | float | str) and as_text(value) == text else text


def _native(name: str, text: str) -> Any:
    if name in _NUMBERS:
        return int(text)
    if name in _LISTS:
        items = text.split(",")
        return [int(item) for item in items] if name == "knock_ports" else items
    return text


def _without(fields: Mapping[str, Any], secrets: frozenset[str]) -> dict[str, Any]:
    return {name: {"file": name} if name in secrets else value for name, value in fields.items()}
