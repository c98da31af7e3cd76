"""Manual pages from `docs/man/NAME.SECTION.md`: the small part of Markdown that they need.

    # blockhost-otp(1) — renew the one-time code      title; becomes NAME
    ## Synopsis                                       .SH SYNOPSIS
    - `--length N` — how many symbols                 .TP
    ```                                               literal lines
    **bold**, *italic*, `literal`                     \\fB, \\fI, \\fB

Anything else is text. What this cannot express does not belong in a manual page of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from deb_builder.errors import BuildError

_TITLE = re.compile(r"# (?P<name>[a-z0-9-]+)\((?P<section>[1-8])\) — (?P<purpose>.+)")
_ITEM = re.compile(r"- (?P<term>.+?) — (?P<text>.+)")
_SIGNS = {"'": "\\(aq", "`": "\\(ga", "~": "\\(ti", "^": "\\(ha"}
_SPANS = (
    (re.compile(r"\*\*(.+?)\*\*"), r"\\fB\1\\fR"),
    (re.compile(r"\*(.+?)\*"), r"\\fI\1\\fR"),
)


def render(markdown: str, *, source: str, version: str, epoch: int) -> str:
    """The page as roff. Same input, same bytes."""
    lines = markdown.splitlines()
    title = _TITLE.fullmatch(lines[0]) if lines else None
    if title is None:
        raise BuildError(f"{source}: the first line must be '# name(section) — purpose'")
    day = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d")
    head = [
        f'.TH {title["name"].upper()} {title["section"]} "{day}" "BlockHost {version}" "BlockHost"',
        ".SH NAME",
        f"{title['name']} \\- {_text(title['purpose'])}",
    ]
    return "\n".join([*head, *_body(lines[1:])]) + "\n"


def _body(lines: list[str]) -> Iterator[str]:
    is_literal = False
    for line in lines:
        if line.startswith("```"):
            yield ".fi\n.RE" if is_literal else ".PP\n.RS 4\n.nf"
            is_literal = not is_literal
        elif is_literal:
            yield _guard(_escape(line, is_literal=True))
        elif line.startswith("## "):
            yield f".SH {_escape(line[3:]).upper()}"
        elif line.startswith("### "):
            yield f".SS {_escape(line[4:])}"
        elif item := _ITEM.fullmatch(line):
            yield f".TP\n{_text(item['term'])}\n{_guard(_text(item['text']))}"
        elif line.startswith("- "):
            yield f".IP \\(bu 2\n{_guard(_text(line[2:]))}"
        elif not line.strip():
            yield ".PP"
        else:
            yield _guard(_text(line.strip()))


def _text(markdown: str) -> str:
    """Spans to fonts; what stands between backquotes is left as it is."""
    parts = re.split(r"`([^`]*)`", markdown)
    rendered = []
    for index, part in enumerate(parts):
        if index % 2:
            rendered.append(f"\\fB{_escape(part, is_literal=True)}\\fR")
            continue
        text = _escape(part)
        for pattern, replacement in _SPANS:
            text = pattern.sub(replacement, text)
        rendered.append(text)
    return "".join(rendered)


def _escape(text: str, *, is_literal: bool = False) -> str:
    """Text as roff; what a reader may copy into a shell keeps its ASCII quotes and signs."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("—", "\\(em").replace("…", "...")
    if is_literal:
        for sign, name in _SIGNS.items():
            text = text.replace(sign, name)
    return text


def _guard(line: str) -> str:
    """A dot or quote at the start of a line would be a request."""
    return f"\\&{line}" if line.startswith((".", "'")) else line
