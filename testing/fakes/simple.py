"""Fakes that only remember that they were called: allowed verbs, and what each prints."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from recorded import record, refuse


def recorder(verbs: Mapping[str, str]) -> None:
    """Record a call whose first word that is no option is one of `verbs`; print its text."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    verb = words[0] if words else ""
    if verb not in verbs:
        refuse(f"does not know the verb {verb!r}")
    stdin = "" if sys.stdin.isatty() else sys.stdin.read()
    record(**({"stdin": stdin} if stdin else {}))
    if verbs[verb]:
        print(verbs[verb])
