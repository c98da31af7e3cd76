"""Reading the console card off a serial line."""

from __future__ import annotations

import re
from dataclasses import dataclass

TERMINAL_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\r")
ADDRESS = re.compile(r"^Address:\s+https://(\S+?)/?\s*$", re.MULTILINE)
FINGERPRINT = re.compile(r"^Fingerprint:\s+SHA256 ((?:[0-9A-F]{2}:){31}[0-9A-F]{2})\s*$", re.MULTILINE)
CODE = re.compile(r"^Code:\s+([A-Z0-9]{4}-[A-Z0-9]{4})\s*$", re.MULTILINE)
PANEL = re.compile(r"^Panel:\s+(https://\S+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Card:
    """What someone in front of the machine reads; `code` is empty once setup is complete."""

    address: str
    fingerprint: str
    code: str


def plain(text: str) -> str:
    """Serial output without colours, cursor moves and carriage returns."""
    return TERMINAL_CODES.sub("", text)


def read_card(text: str) -> Card | None:
    """The last card in a serial line's output; None while one of its rows is not there yet."""
    lines = plain(text)
    addresses, prints, codes = (rule.findall(lines) for rule in (ADDRESS, FINGERPRINT, CODE))
    if not addresses or not prints:
        return None
    if PANEL.search(lines):
        return Card(addresses[-1], prints[-1], "")
    return Card(addresses[-1], prints[-1], codes[-1]) if codes else None
