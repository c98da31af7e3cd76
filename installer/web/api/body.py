"""Reading JSON bodies: strictly, once, with the field named in every refusal."""

from __future__ import annotations

from flask import abort, request

from blockhost.errors import FieldError
from blockhost.fields import Fields, load_json_document


def fields() -> Fields:
    """The request's JSON object; an empty body is an empty object. Aborts with 400 otherwise."""
    raw = request.get_data(cache=False)
    try:
        return Fields(load_json_document(raw, source="body") if raw else {}, source="body")
    except FieldError as error:
        abort(400, str(error))


def optional_text(body: Fields, key: str) -> str:
    """A text field, empty where it is absent. Aborts with 400 on another type."""
    try:
        return body.optional(key, str, "")
    except FieldError as error:
        abort(400, str(error))


def flag(body: Fields, key: str) -> bool:
    """A boolean field, False where it is absent. Aborts with 400 on another type."""
    try:
        return body.optional(key, bool, False)
    except FieldError as error:
        abort(400, str(error))


def refuse_unknown(body: Fields) -> None:
    """Abort with 400 on keys that nobody asked for."""
    try:
        body.refuse_unknown()
    except FieldError as error:
        abort(400, str(error))
