"""Types for argparse: each refuses with what was found and what is expected."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

from blockhost.engine_local import identity
from blockhost.engine_local.ledger import plans
from blockhost.engine_local.ledger.subscriptions import MAX_DAYS
from blockhost.i18n import gettext as _

MAX_HEX = 128 * 1024

_HEX = re.compile(r"(0x)?(([0-9A-Fa-f]{2})*)")


def address(text: str) -> str:
    """The fingerprint of an SSH key."""
    if not identity.is_address(text):
        raise _refused(_("expected a fingerprint like SHA256:…, got “%(found)s”"), text)
    return text


def number(text: str) -> int:
    """The number of a credential or subscription."""
    if not is_number(text):
        raise _refused(_("expected a number, got “%(found)s”"), text)
    return int(text)


def is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 15


def days(text: str) -> int:
    """How long: from one day to about ten years."""
    if not is_number(text) or not 1 <= int(text) <= MAX_DAYS:
        raise _refused(_("expected 1 to %(most)d days, got “%(found)s”"), text, most=MAX_DAYS)
    return int(text)


def hexadecimal(text: str) -> str:
    """Bytes as hex, with or without `0x`; returned with it."""
    found = _HEX.fullmatch(text)
    if found is None or len(text) > MAX_HEX:
        raise _refused(_("expected whole bytes in hexadecimal, got “%(found)s”"), text)
    return f"0x{found[2].lower()}"


def plan_name(text: str) -> str:
    try:
        return plans.check_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def plan_number(key: str) -> Callable[[str], int]:
    """One number of a plan (a key of `plans.LIMITS`)."""

    def check(text: str) -> int:
        try:
            return plans.check_number(key, text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return check


def occasion(text: str) -> str:
    """A name for something that must happen once only."""
    if not 1 <= len(text) <= 200 or not text.isprintable():
        raise _refused(_("expected a name of 1 to 200 printable characters, got “%(found)s”"), text)
    return text


def _refused(message: str, found: str, **values: int) -> argparse.ArgumentTypeError:
    shown = found if len(found) <= 60 else found[:59] + "…"
    return argparse.ArgumentTypeError(message % {"found": shown.replace("\n", " "), **values})
