"""nginx configuration from typed directives: a value can never end its directive or open a block."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _

_NAME = re.compile(r"[a-z0-9_]+")
_WORD = re.compile(r"[A-Za-z0-9_./:=*~^+@%,\[\]-]+")
_TEXT = re.compile(r"[^\"\\$\x00-\x1f\x7f]*")
_EXPRESSION = re.compile(r"[A-Za-z0-9_./:=*~^+@%,\[\]$ '-]+")


class Expression(str):
    """A value of our own that holds nginx variables; never made from input."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive: `name values;`, or `name values { block }`."""

    name: str
    values: tuple[str, ...] = ()
    block: tuple[Directive, ...] | None = None


def directive(name: str, *values: object, block: Iterable[Directive] | None = None) -> Directive:
    """A directive; values that are not text (numbers, paths) are turned into it."""
    texts = tuple(value if isinstance(value, str) else str(value) for value in values)
    return Directive(name, texts, None if block is None else tuple(block))


def render(directives: Iterable[Directive]) -> str:
    """The directives as nginx reads them.

    Raises:
        BlockhostError: a value holds what nginx would read as syntax.
    """
    return "".join(f"{line}\n" for line in _lines(directives, ""))


def _lines(directives: Iterable[Directive], indent: str) -> Iterable[str]:
    for item in directives:
        if not _NAME.fullmatch(item.name):
            raise BlockhostError(_("nginx: %(name)r is not a directive") % {"name": item.name})
        head = " ".join([item.name, *(_value(value) for value in item.values)])
        if item.block is None:
            yield f"{indent}{head};"
        else:
            yield f"{indent}{head} {{"
            yield from _lines(item.block, indent + "    ")
            yield f"{indent}}}"


def _value(value: str) -> str:
    if isinstance(value, Expression):
        if not _EXPRESSION.fullmatch(value):
            raise BlockhostError(_("nginx: %(value)r is not an expression") % {"value": value})
        return f'"{value}"' if " " in value or "'" in value else str(value)
    if _WORD.fullmatch(value):
        return value
    if _TEXT.fullmatch(value):
        return f'"{value}"'
    raise BlockhostError(_("nginx: %(value)r cannot stand in a configuration") % {"value": value})
