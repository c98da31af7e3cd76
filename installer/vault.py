"""The operator's secrets during setup: one sealed file that only root reads.

Each `keep` is durable before it returns. A crash at any point leaves the vault before or after the
call, never between: the file is replaced in one rename.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blockhost import paths
from blockhost.errors import BlockhostError, DamagedFile
from blockhost.files import make_dir, read_sealed, remove_sealed, write_sealed
from blockhost.i18n import gettext as _
from blockhost.placeholders import resolve_secrets
from blockhost.secret import Redactor, Secret

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
MAX_SECRETS = 64
MAX_LENGTH = 64 * 1024


class Vault:
    """Named secrets in one file, by default the setup's `vault.json`."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or paths.setup_dir() / "vault.json"

    def keep(self, name: str, value: str | Secret) -> None:
        """Keep a secret, replacing an older one of that name; durable when this returns.

        Raises:
            BlockhostError: the name or the value's size is not acceptable, or the vault is full.
        """
        text = value.reveal() if isinstance(value, Secret) else value
        if not NAME.fullmatch(name):
            raise BlockhostError(_("expected the name of a secret, got %s") % repr(name[:64]))
        if not text or len(text) > MAX_LENGTH:
            raise BlockhostError(
                _("%(name)s: expected 1 to %(limit)d characters, got %(length)d")
                % {"name": name, "limit": MAX_LENGTH, "length": len(text)}
            )
        with self._locked():
            kept = self._read()
            if len(kept) >= MAX_SECRETS and name not in kept:
                raise BlockhostError(_("the vault is full: it holds %d secrets") % MAX_SECRETS)
            if kept.get(name) != text:
                self._write({**kept, name: text})

    def names(self) -> list[str]:
        """What is kept, without the values."""
        return sorted(self._read())

    def get(self, name: str) -> Secret:
        """One secret.

        Raises:
            BlockhostError: nothing of that name is kept.
            DamagedFile: the vault cannot be trusted.
        """
        kept = self._read()
        if name not in kept:
            raise BlockhostError(
                _("no secret %s is kept") % repr(name), hint=_("Answer its page in the wizard again")
            )
        return Secret(kept[name])

    def resolve(self, document: Any) -> Any:
        """The document with its `$secret` placeholders filled in.

        Raises:
            BlockhostError: a placeholder names a secret that is not kept.
        """
        return resolve_secrets(document, self.get)

    def redactor(self) -> Redactor:
        """Removes every kept secret from a text."""
        return Redactor(self._read().values())

    def wipe(self) -> None:
        """Forget everything, in both generations; a vault that is not there is fine.

        The blocks on the disk are not overwritten: on a journal or flash that promises nothing.
        """
        with self._locked():
            remove_sealed(self._path)

    def _read(self) -> dict[str, str]:
        try:
            body = read_sealed(self._path)
        except FileNotFoundError:
            return {}
        if not isinstance(body, dict) or not all(isinstance(value, str) for value in body.values()):
            raise DamagedFile(
                self._path,
                _("not a vault"),
                remedy=_("Run `blockhost-setup reset` and answer the wizard again"),
            )
        return body

    def _write(self, kept: dict[str, str]) -> None:
        write_sealed(self._path, kept, mode=0o600)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One change at a time, over threads and processes alike."""
        make_dir(self._path.parent, mode=0o700)
        lock = os.open(
            self._path.with_name(f".{self._path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)
