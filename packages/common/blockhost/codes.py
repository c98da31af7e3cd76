"""The one-time code that the console shows and the wizard's login asks for.

A guess is counted durably before it is compared, in constant time, under a lock; so a kill
between the two costs the guesser a try and never gives one back (RFC 4226 section 7.3).
Validity is measured by the boot clock: a wrong wall clock neither shortens nor extends it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hmac
import logging
import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from blockhost import boot_clock, paths
from blockhost.errors import CodeError, DamagedFile, FieldError
from blockhost.fields import Fields
from blockhost.files import make_dir, read_json, write_json
from blockhost.i18n import gettext as _

log = logging.getLogger(__name__)

#: No 0, 1, I, L, O: nothing that a person could misread on a console.
ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
LENGTH = 8
LONGEST = 64  # nobody types more
SHORTEST = 6
TTL_S = 4 * 3600
MAX_ATTEMPTS = 10


class Outcome(StrEnum):
    """What became of a guess."""

    ACCEPTED = "accepted"
    WRONG = "wrong"
    EXPIRED = "expired"
    LOCKED = "locked"
    USED = "used"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Code:
    """One issued code. Times are seconds of the boot clock of boot `boot_id`."""

    code: str
    created_at: float
    expires_at: float
    attempts: int = 0
    locked: bool = False
    verified: bool = False
    boot_id: str = ""

    @property
    def is_expired(self) -> bool:
        return self.boot_id != boot_clock.boot_id() or boot_clock.seconds() >= self.expires_at

    @property
    def is_usable(self) -> bool:
        return not (self.is_expired or self.locked or self.verified)

    @property
    def seconds_left(self) -> int:
        """Whole seconds until it expires; 0 when it is no longer usable."""
        return int(max(0.0, self.expires_at - boot_clock.seconds())) if self.is_usable else 0


def code_file() -> Path:
    """On a tmpfs: a code does not outlive its boot, nor reach a disk."""
    return paths.run_dir() / "otp.json"


def normalize(guess: str) -> str:
    """A guess as it is compared: upper case, without spaces and dashes."""
    return "".join(guess.split()).replace("-", "").upper()


def issue(*, length: int = LENGTH, ttl_s: int = TTL_S) -> Code:
    """Make and store a fresh code; the one before is void.

    Raises:
        CodeError: the length is too short or too long, or the file cannot be written.
    """
    if length < SHORTEST:
        raise CodeError(
            _("a code of %(length)s symbols is too easy to guess; at least %(shortest)s are needed")
            % {"length": length, "shortest": SHORTEST}
        )
    if length > LONGEST:
        raise CodeError(
            _("a code of %(length)s symbols is too long to type; at most %(longest)s are useful")
            % {"length": length, "longest": LONGEST}
        )
    now = boot_clock.seconds()
    with _locked():
        code = Code(
            code="".join(secrets.choice(ALPHABET) for _place in range(length)),
            created_at=now,
            expires_at=now + ttl_s,
            boot_id=boot_clock.boot_id(),
        )
        _save(code)
    return code


def current() -> Code | None:
    """The code on file, usable or not; None when none was issued since boot.

    Raises:
        DamagedFile: the file does not hold a code; issuing a new one is the remedy.
    """
    try:
        return _parse(read_json(code_file()))
    except FileNotFoundError:
        return None


def verify(guess: str) -> Outcome:
    """Evaluate one guess; at most `MAX_ATTEMPTS` per code are ever compared."""
    with _locked():
        try:
            code = current()
        except DamagedFile as damage:
            log.warning("%s; renew the code at the console", damage)
            return Outcome.NONE
        if code is None:
            return Outcome.NONE
        if code.verified:
            return Outcome.USED
        if code.is_expired:
            return Outcome.EXPIRED
        if code.locked or code.attempts >= MAX_ATTEMPTS:
            return Outcome.LOCKED
        counted = replace(code, attempts=code.attempts + 1)
        counted = replace(counted, locked=counted.attempts >= MAX_ATTEMPTS)
        _save(counted)
        if hmac.compare_digest(normalize(guess).encode(), code.code.encode()):
            _save(replace(counted, verified=True, locked=False))
            return Outcome.ACCEPTED
        return Outcome.LOCKED if counted.locked else Outcome.WRONG


def attempts_left() -> int:
    """How many guesses the current code still allows."""
    code = current()
    return max(0, MAX_ATTEMPTS - code.attempts) if code and code.is_usable else 0


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    directory = code_file().parent
    try:
        if not directory.exists():
            make_dir(directory, mode=0o750)
        descriptor = os.open(directory / "otp.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CodeError(
            _("cannot lock %(directory)s: %(reason)s") % {"directory": directory, "reason": error.strerror}
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _save(code: Code) -> None:
    write_json(code_file(), asdict(code), mode=0o600)


def _parse(document: object) -> Code:
    try:
        return _read(Fields(document, source=str(code_file())))
    except FieldError as error:
        raise DamagedFile(code_file(), error.problem, remedy=_("Renew the code at the console")) from error


def _read(fields: Fields) -> Code:
    return Code(
        code=fields.take("code", str),
        created_at=fields.take("created_at", float),
        expires_at=fields.take("expires_at", float),
        attempts=fields.take("attempts", int),
        locked=fields.take("locked", bool),
        verified=fields.take("verified", bool),
        boot_id=fields.optional("boot_id", str, ""),
    )
