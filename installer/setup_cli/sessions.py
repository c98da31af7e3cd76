"""A login outlives this program: the code on the console works once, a second look needs none.

One file of mode 0600 for each machine, named by the fingerprint that was given. It holds the
session cookie and the fingerprints that were announced since; the server forgets the session
after some hours without use.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from blockhost.errors import DamagedFile
from blockhost.files import make_dir, read_json, remove, write_json
from installer.setup_cli.tls import parse_fingerprint


def _directory() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "blockhost-setup"


class SavedSession:
    """The session at one machine: `origin` is its URL, `fingerprint` what the operator typed."""

    def __init__(self, origin: str, fingerprint: str) -> None:
        digest = hashlib.sha256(origin.encode() + b"\0" + parse_fingerprint(fingerprint)).hexdigest()
        self._path = _directory() / f"{digest[:32]}.json"

    def load(self) -> tuple[dict[str, str], list[str]]:
        """Cookies and announced fingerprints; both empty without a usable file."""
        try:
            document = read_json(self._path)
        except (OSError, DamagedFile):
            return {}, []
        if not isinstance(document, dict):
            return {}, []
        cookies, pins = document.get("cookies"), document.get("announced")
        return (
            {str(k): str(v) for k, v in cookies.items()} if isinstance(cookies, dict) else {},
            [str(pin) for pin in pins] if isinstance(pins, list) else [],
        )

    def save(self, cookies: dict[str, str], announced: list[str]) -> None:
        """Remember the login."""
        make_dir(self._path.parent, mode=0o700)
        write_json(self._path, {"cookies": cookies, "announced": announced}, mode=0o600)

    def forget(self) -> None:
        """The login is over."""
        remove(self._path)
