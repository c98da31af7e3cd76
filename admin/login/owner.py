"""Who may log in, and who signed: the engine's `bw who` answers both."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable

from blockhost.command import run
from blockhost.errors import BlockhostError, CommandFailed
from blockhost.i18n import gettext as _
from blockhost.manifest import load_engine

CACHE_S = 60.0
#: An engine may ask a chain.
TIMEOUT_S = 20.0
#: Any engine's signature is of these; a leading dash only as the armour of an SSH signature.
_SIGNATURE = re.compile(
    r"(?!-)[0-9A-Za-z+/=:._-]{16,8192}"
    r"|-----BEGIN SSH SIGNATURE-----\n[0-9A-Za-z+/=\n]{16,8192}-----END SSH SIGNATURE-----"
)


class NotAsked(BlockhostError):
    """The engine could not tell; nobody logs in until it can."""


class Owner:
    """Asks the engine; the administrator's address is kept for a minute."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._known: tuple[float, str] | None = None

    def is_administrator(self, message: str, signature: str) -> str | None:
        """The administrator's address if that is who signed, else None.

        Raises:
            NotAsked: the engine gave no answer about the administrator.
        """
        signature = signature.replace("\r\n", "\n").strip()
        if not is_signature(signature):
            return None
        try:
            signer = run(["bw", "who", message, signature], timeout=TIMEOUT_S).strip()
        except CommandFailed as error:
            if error.exit_code is None:
                raise NotAsked(_("the engine does not answer: %(error)s") % {"error": error}) from error
            return None
        admin = self.address()
        return admin if signer and _normal(signer) == _normal(admin) else None

    def address(self) -> str:
        """Who holds the administrator's credential.

        Raises:
            NotAsked: the engine gave no answer.
        """
        with self._guard:
            if self._known is not None and self._clock() < self._known[0]:
                return self._known[1]
            try:
                address = run(["bw", "who", "admin"], timeout=TIMEOUT_S).strip()
            except CommandFailed as error:
                raise NotAsked(
                    _("the engine does not tell who the administrator is: %(error)s") % {"error": error}
                ) from error
            if not address:
                raise NotAsked(_("the engine does not tell who the administrator is"))
            self._known = (self._clock() + CACHE_S, address)
            return address


def is_signature(text: str) -> bool:
    """Whether `text` can be a signature of this host's engine, and no option of a program."""
    if not _SIGNATURE.fullmatch(text):
        return False
    try:
        return load_engine().constraints.is_signature(text)
    except BlockhostError:
        return True  # no pattern to hold it against: the engine's command refuses


def _normal(address: str) -> str:
    """Hex addresses differ in case only by their checksum; fingerprints by everything."""
    return address.lower() if address.startswith(("0x", "0X")) else address
