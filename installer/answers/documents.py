"""Reading an answers file strictly: YAML whose every value remembers its line.

Refused before anything is built: too large, too deep, anchors and aliases (one line could stand
for gigabytes), tags, several documents, duplicate keys. Scalars keep the text that was written, so
`010` or `12:30` mean what the operator sees and not an octal or a sexagesimal number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from blockhost.i18n import gettext as _

MAX_BYTES = 256 * 1024
MAX_DEPTH = 6


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in an answers file, where it stands, and what may help."""

    file: str
    line: int
    where: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.where}: {self.message}" if self.where else f"{place}: {self.message}"

    def to_json(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "line": self.line,
            "where": self.where,
            "message": self.message,
            "hint": self.hint,
        }


class Malformed(Exception):
    """The document cannot be read at all; says where."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Value:
    """A field's value: its text, or the file that holds it."""

    line: int
    text: str = field(default="", repr=False)
    file: Path | None = None
    literal: bool = True


@dataclass(frozen=True, slots=True)
class Faulty:
    """A value that is no field value; the message says why."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Section:
    """One top-level key and its fields."""

    line: int
    values: dict[str, Value | Faulty]
    fault: str = ""


def read_document(raw: bytes) -> dict[str, Section | Value | Faulty]:
    """The top level of an answers file: sections, and single values such as `version`.

    Raises:
        Malformed: with the line and the reason.
    """
    if len(raw) > MAX_BYTES:
        raise Malformed(
            0, _("%(size)d bytes, expected at most %(limit)d") % {"size": len(raw), "limit": MAX_BYTES}
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise Malformed(line, _("not UTF-8")) from None
    try:
        _refuse_dangerous(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise Malformed(*_place_of(error)) from None
    if root is None:
        raise Malformed(1, _("empty, expected `version: 1` and sections"))
    if not isinstance(root, yaml.MappingNode):
        raise Malformed(_line(root), _("expected keys and values at the top"))
    return {key: _section(node, line) for key, line, node in _pairs(root)}


def _refuse_dangerous(text: str) -> None:
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise Malformed(line, _("anchors and aliases are not used here: write the value out"))
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise Malformed(line, _("a second document begins, expected one"))
        if isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None) not in (None, "!"):
            raise Malformed(line, _("tags (%s) are not used here") % getattr(event, "tag", ""))
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise Malformed(line, _("nested deeper than %d levels") % MAX_DEPTH)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _pairs(node: yaml.MappingNode) -> Iterator[tuple[str, int, yaml.Node]]:
    """Key, the key's line, value."""
    seen: dict[str, int] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise Malformed(_line(key), _("expected a plain word as a key"))
        name = str(key.value)
        if name in seen:
            raise Malformed(
                _line(key),
                _("duplicate key %(key)s, first in line %(line)d") % {"key": repr(name), "line": seen[name]},
            )
        seen[name] = _line(key)
        yield name, _line(key), value


def _section(node: yaml.Node, line: int) -> Section | Value | Faulty:
    if isinstance(node, yaml.MappingNode):
        return Section(line, {key: _value(value) for key, _line_of_key, value in _pairs(node)})
    return _value(node)


def _value(node: yaml.Node) -> Value | Faulty:
    line = _line(node)
    if isinstance(node, yaml.ScalarNode):
        return Value(line, _scalar(node))
    if isinstance(node, yaml.SequenceNode):
        return _listed(node)
    assert isinstance(node, yaml.MappingNode)
    entries = {key: value for key, _line_of_key, value in _pairs(node)}
    source = entries.get("file")
    if set(entries) != {"file"} or not isinstance(source, yaml.ScalarNode) or not source.value:
        return Faulty(line, _("expected a value or {file: PATH}, got other keys"))
    return Value(line, file=Path(str(source.value)), literal=False)


def _listed(node: yaml.SequenceNode) -> Value | Faulty:
    texts = []
    for item in node.value:
        if not isinstance(item, yaml.ScalarNode):
            return Faulty(_line(item), _("expected a list of single values"))
        if "," in _scalar(item):
            return Faulty(_line(item), _("an item of a list must not contain a comma"))
        texts.append(_scalar(item))
    return Value(_line(node), ",".join(texts))


def _scalar(node: yaml.ScalarNode) -> str:
    if node.tag == "tag:yaml.org,2002:null":
        return ""
    if node.tag == "tag:yaml.org,2002:bool":
        return "yes" if node.value.lower() in ("yes", "true", "on") else "no"
    return str(node.value)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _place_of(error: yaml.YAMLError) -> tuple[int, str]:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        # `problem` names tokens, never the text around the mark, which may be a secret.
        return (mark.line + 1 if mark else 0), _("not YAML: %s") % (error.problem or error.context)
    return 0, _("not YAML: an unreadable character")
