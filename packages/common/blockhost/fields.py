"""Typed reading of foreign JSON: each complaint names the source, the path and what was expected."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, TypeVar

from blockhost.errors import FieldError
from blockhost.i18n import gettext as _

T = TypeVar("T")

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16


def load_json_document(
    text: str | bytes, *, source: str, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH
) -> Any:
    """Parse JSON strictly: UTF-8, size and depth limited, no duplicate keys, no NaN.

    Raises:
        FieldError: names `source` and what is wrong.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > max_bytes:
        raise FieldError(
            source,
            "",
            _("%(count)s bytes, expected at most %(max_bytes)s")
            % {"count": len(raw), "max_bytes": max_bytes},
        )
    _check_depth(raw, source, max_depth)
    try:
        return _STRICT.decode(raw.decode("utf-8"))
    except _NotStrict as error:
        raise FieldError(source, "", str(error)) from None
    except UnicodeDecodeError as error:
        raise FieldError(source, "", _("not UTF-8 at byte %(start)s") % {"start": error.start}) from None
    except json.JSONDecodeError as error:
        raise FieldError(source, f"line {error.lineno}, column {error.colno}", error.msg) from None
    except ValueError as error:  # Python's own limit on the digits of an integer
        raise FieldError(source, "", str(error).split(":")[0]) from None


class Fields:
    """One JSON object, read key by key; remembers what was asked for."""

    def __init__(self, document: object, *, source: str, path: str = "$") -> None:
        if not isinstance(document, Mapping):
            raise FieldError(source, path, _("expected object, got %(got)s") % {"got": type_name(document)})
        self.source = source
        self.path = path
        self._document: Mapping[str, Any] = document
        self._known: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._document

    def keys(self) -> list[str]:
        return list(self._document)

    def take(self, key: str, kind: type[T]) -> T:
        """The value of a required key."""
        self._known.add(key)
        if key not in self._document:
            self.fail(key, _("missing, expected %(kind)s") % {"kind": _kind_name(kind)})
        return self._typed(key, kind)

    def optional(self, key: str, kind: type[T], default: T) -> T:
        """The value of an optional key; an explicit null counts as absent."""
        self._known.add(key)
        if self._document.get(key) is None:
            return default
        return self._typed(key, kind)

    def child(self, key: str) -> Fields:
        """A required object."""
        return Fields(self.take(key, dict), source=self.source, path=f"{self.path}.{key}")

    def optional_child(self, key: str) -> Fields:
        """An optional object; empty when absent."""
        return Fields(self.optional(key, dict, {}), source=self.source, path=f"{self.path}.{key}")

    def strings(self, key: str, default: Iterable[str] | None = None) -> tuple[str, ...]:
        """A list of strings; required unless there is a default."""
        values = self.take(key, list) if default is None else self.optional(key, list, list(default))
        for index, value in enumerate(values):
            if not isinstance(value, str):
                self.fail(f"{key}[{index}]", _("expected str, got %(got)s") % {"got": type_name(value)})
        return tuple(values)

    def string_map(self, key: str) -> dict[str, str]:
        """A required object whose values are strings."""
        child = self.child(key)
        return {name: child.take(name, str) for name in child.keys()}  # noqa: SIM118  ours, not a dict

    def choice(self, key: str, allowed: Iterable[str], default: str | None = None) -> str:
        """One of a few words."""
        words = [str(word) for word in allowed]
        value = self.take(key, str) if default is None else self.optional(key, str, default)
        if value not in words:
            self.fail(
                key,
                _("expected one of %(names)s, got %(value)r") % {"names": ", ".join(words), "value": value}
                + _did_you_mean(value, words),
            )
        return value

    def unknown(self) -> list[str]:
        """Keys that nobody asked for."""
        return [key for key in self._document if key not in self._known]

    def refuse_unknown(self) -> None:
        """Complain about the first key that nobody asked for, with a suggestion."""
        for key in self.unknown():
            self.fail(key, _("unknown key") + _did_you_mean(key, self._known))

    def fail(self, key: str, problem: str) -> NoReturn:
        """Refuse the value at `key`."""
        raise FieldError(self.source, f"{self.path}.{key}", problem)

    def _typed(self, key: str, kind: type[T]) -> T:
        value = self._document[key]
        # bool is a subclass of int: `true` must not pass as a number.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            if kind is float and isinstance(value, int) and not isinstance(value, bool):
                return kind(value)  # type: ignore[call-arg]
            self.fail(
                key, _("expected %(kind)s, got %(got)s") % {"kind": _kind_name(kind), "got": type_name(value)}
            )
        return value


def suggest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return close[0] if close else None


def type_name(value: object) -> str:
    """What JSON calls the type of a value."""
    if value is None:
        return "null"
    return _kind_name(type(value))


def _kind_name(kind: type) -> str:
    return "object" if kind is dict else kind.__name__


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    meant = suggest(word, known)
    return _("; did you mean %(meant)r?") % {"meant": meant} if meant else ""


class _NotStrict(ValueError):
    """JSON that others would accept."""


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        for key, _value in pairs:
            if key in seen:
                raise _NotStrict(_("duplicate key %(key)r") % {"key": key})
            seen.add(key)
    return result


def _refuse_constant(word: str) -> NoReturn:
    raise _NotStrict(_("%(word)s is not a JSON number") % {"word": word})


# Made once: the agent parses each request with it.
_STRICT = json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)


def _check_depth(raw: bytes, source: str, max_depth: int) -> None:
    """Refuse deep nesting before a recursive parser sees it. Brackets inside strings don't count."""
    if raw.count(b"[") + raw.count(b"{") <= max_depth:
        return
    depth = 0
    in_string = escaped = False
    for byte in raw:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            if depth > max_depth:
                raise FieldError(
                    source, "", _("nested deeper than %(max_depth)s levels") % {"max_depth": max_depth}
                )
        elif byte in b"]}":
            depth -= 1
