"""Reading one form: every fault is collected, so the operator hears of all of them at once.

A form is a mapping of texts, whether it came from a page, an answers file or the JSON API. A parser
turns a text into a value or raises ValueError saying what was expected; the reader adds the
field's name and what was found, except where the field is secret.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from blockhost.errors import AnswerError
from blockhost.i18n import gettext as _

T = TypeVar("T")
D = TypeVar("D")

#: Longer than any honest answer but a signature, which has its own limit.
MAX_LENGTH = 1024
#: What an error message repeats of a wrong value.
SHOWN_LENGTH = 60


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of a form: its name and, as JSON Schema, what it accepts in an answers file."""

    name: str
    schema: Mapping[str, Any]
    required: bool = False
    secret: bool = False
    multiline: bool = False
    max_length: int = MAX_LENGTH


class Refused(AnswerError):
    """A field is not acceptable: `problem` is the message without the field's name in front."""

    def __init__(self, field_name: str, problem: str, *, hint: str = "") -> None:
        super().__init__(field_name, f"{field_name}: {problem}", hint=hint)
        self.problem = problem


class FormRefused(Refused):
    """All faults of one form: `problems` holds each, the error itself is the first of them."""

    def __init__(self, problems: Sequence[Refused]) -> None:
        first = problems[0]
        super().__init__(first.field, first.problem, hint=first.hint)
        self.problems = tuple(problems)


@dataclass(slots=True)
class FormReader:
    """Takes values out of one form; `finish` raises whatever was wrong.

    A refused value comes back as None in the place of its type: nobody may use it before `finish`,
    and rules between fields ask `fine` first.
    """

    form: Mapping[str, object]
    fields: Iterable[FormField]
    _fields: dict[str, FormField] = field(init=False)
    _problems: list[Refused] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._fields = {known.name: known for known in self.fields}

    def given(self, name: str) -> bool:
        """True where the form says something about this field."""
        return self._text(name) != ""

    def required(self, name: str, parse: Callable[[str], T]) -> T:
        """The value of a field that must be filled in."""
        if not self.given(name) and name not in self._refused():
            self.refuse(name, _("nothing was given, expected %s") % _expected(parse))
        return self._parsed(name, parse)

    def optional(self, name: str, parse: Callable[[str], T], default: D) -> T | D:
        """The value of a field that may be left empty."""
        return self._parsed(name, parse) if self.given(name) else default

    def forbid(self, names: Iterable[str], reason: str) -> None:
        """Refuse each of these fields that is filled in: it contradicts another answer."""
        for name in names:
            if self.given(name):
                self.refuse(
                    name,
                    _("%(found)s contradicts another answer: %(reason)s")
                    % {"found": self.shown(name), "reason": reason},
                )

    def fine(self, *names: str) -> bool:
        """True when none of these fields was refused."""
        return not self._refused() & set(names)

    def refuse(self, name: str, problem: str) -> None:
        """Remember a fault; the first one of a field is the one that is told."""
        if name not in self._refused():
            self._problems.append(Refused(name, problem))

    def shown(self, name: str) -> str:
        """What a message may repeat of this field: never a secret, never a page of text."""
        return shown("" if self._fields[name].secret else self._text(name))

    def finish(self) -> None:
        """Raise what was collected.

        Raises:
            FormRefused: at least one field is not acceptable.
        """
        if self._problems:
            raise FormRefused(self._problems)

    def _refused(self) -> set[str]:
        return {problem.field for problem in self._problems}

    def _text(self, name: str) -> str:
        known = self._fields[name]
        try:
            text = as_text(self.form.get(name, "")).replace("\r\n", "\n").strip()
            _check_characters(text, known)
        except ValueError as error:
            self.refuse(name, str(error))
            return ""
        return text

    def _parsed(self, name: str, parse: Callable[[str], T]) -> T:
        text = self._text(name)
        if self.fine(name):
            try:
                return parse(text)
            except ValueError as error:
                found = "" if self._fields[name].secret else ", " + _("got %s") % shown(text)
                self.refuse(name, _("expected %s") % error + found)
        return cast(T, None)


def as_text(value: object) -> str:
    """What a form would carry for a value of YAML or JSON: lists by comma, booleans as yes and no.

    Raises:
        ValueError: a mapping or a nested list, which no form field can hold.
    """
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case str() | int() | float():
            return str(value)
        case list() | tuple() if not any(isinstance(item, list | tuple | dict) for item in value):
            return ",".join(as_text(item) for item in value)
        case _:
            raise ValueError(_("expected a text, number or list, got %s") % type(value).__name__)


def shown(text: str) -> str:
    """A value as a message repeats it: quoted, printable, short."""
    short = text if len(text) <= SHOWN_LENGTH else text[: SHOWN_LENGTH - 1] + "…"
    return repr(short)


def all_problems(error: AnswerError) -> tuple[AnswerError, ...]:
    """Each fault in an error of a form, ours (which collect) or a plugin's (which may not)."""
    return tuple(getattr(error, "problems", ())) or (error,)


def problem_of(error: AnswerError) -> str:
    """The message without the field's name in front."""
    return str(error).removeprefix(f"{error.field}: ")


def object_schema(
    title: str, fields: Iterable[FormField], rules: Iterable[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """The JSON Schema of one section, from the same table that its reader uses."""
    fields = tuple(fields)
    schema: dict[str, Any] = {
        "type": "object",
        "title": title,
        "properties": {known.name: dict(known.schema) for known in fields},
        "required": [known.name for known in fields if known.required],
        "additionalProperties": False,
    }
    if rules := list(rules):
        schema["allOf"] = [dict(rule) for rule in rules]
    return schema


def _check_characters(text: str, known: FormField) -> None:
    if len(text) > known.max_length:
        raise ValueError(
            _("%(length)d characters, expected at most %(limit)d")
            % {"length": len(text), "limit": known.max_length}
        )
    allowed = "\n\t" if known.multiline else ""
    for character in text:
        # Cc: control, Cf: invisible (direction overrides), Cs: lone surrogates.
        if character not in allowed and unicodedata.category(character) in ("Cc", "Cf", "Cs"):
            raise ValueError(_("contains the unprintable character U+%04X") % ord(character))


def _expected(parse: Callable[[str], object]) -> str:
    """A parser refuses the empty text too, and says what it wants."""
    try:
        parse("")
    except ValueError as error:
        return str(error)
    return _("a value")
