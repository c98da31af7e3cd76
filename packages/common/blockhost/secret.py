"""A value that does not print, and the second line of defence: removing secrets from text."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import NoReturn

#: Shorter values would blot out ordinary words in a log.
SHORTEST_REDACTED = 6


class Secret:
    """A secret string. It prints as `Secret(…)`; `.reveal()` is the one way to the value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself: for the program or file that must have it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled: pass it where it is needed, by pipe")


class Redactor:
    """Replaces known secret values, whole or line by line, by `[redacted]`."""

    def __init__(self, values: Iterable[str | Secret]) -> None:
        found: set[str] = set()
        for value in values:
            text = value.reveal() if isinstance(value, Secret) else value
            # A program prints a multi-line secret (a PEM key) line by line.
            found.update(
                part for part in (text, *text.splitlines()) if len(part.strip()) >= SHORTEST_REDACTED
            )
        self._values = sorted(found, key=len, reverse=True)

    def redact(self, text: str) -> str:
        for value in self._values:
            text = text.replace(value, "[redacted]")
        return text
