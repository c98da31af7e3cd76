"""What a page says to somebody who reads it: its complaints, its forms' fields, and where they stand."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

_ERROR_CLASSES = frozenset({"field-error", "alert-error"})
#: Elements that have no end tag.
_VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"]
)


@dataclass(frozen=True, slots=True)
class Complaint:
    """One message of a page; `field` is empty where it is about the whole form."""

    field: str
    message: str


@dataclass(slots=True)
class Page:
    """The parts of a page that a client acts on."""

    title: str = ""
    complaints: list[Complaint] = field(default_factory=list)
    inputs: dict[str, str] = field(default_factory=dict)


def read_page(html: str) -> Page:
    """Read a page.

    `data-error="FIELD"`, or an error's class and the id `FIELD-error` or `FIELD-hint`, mark a complaint
    about a field; `role="alert"` marks the page's own, which sums the fields' up where there are any.
    """
    reader = _Reader()
    reader.feed(html)
    reader.close()
    page = reader.page
    told = [complaint for complaint in page.complaints if complaint.message]
    page.complaints = [complaint for complaint in told if complaint.field] or told
    return page


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self._depth = 0
        self._open: list[tuple[int, str, list[str]]] = []
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "title":
            self._in_title = True
        if tag == "input" and attributes.get("name"):
            self.page.inputs.setdefault(attributes["name"], attributes.get("value", ""))
        if tag in _VOID:
            return
        self._depth += 1
        if name := _field_of(attributes):
            self._open.append((self._depth, name, []))
        elif attributes.get("role") == "alert":
            self._open.append((self._depth, "", []))

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        if tag in _VOID:
            return
        if self._open and self._open[-1][0] == self._depth:
            _depth, name, texts = self._open.pop()
            self.page.complaints.append(Complaint(name, " ".join("".join(texts).split())))
        self._depth -= 1

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.page.title += data.strip()
        for _depth, _name, texts in self._open:
            texts.append(data)


def _field_of(attributes: dict[str, str]) -> str:
    """The field that an element complains about; empty for all other elements."""
    if attributes.get("data-error"):
        return attributes["data-error"]
    marked = re.fullmatch(r"(\w+)-(?:error|hint)", attributes.get("id", ""))
    is_error = not _ERROR_CLASSES.isdisjoint(attributes.get("class", "").split())
    return marked[1] if marked and is_error and attributes.get("role") != "alert" else ""
