"""What time it is, and whether anything may end by it.

A wall clock can be wrong: with a dead battery a machine starts in 1970 or in 2036, and people set clocks.
So the last moment that was believed is kept as a mark, with the boot and the seconds since boot that
belong to it. A reading is believed when

* the kernel calls its clock synchronised (adjtimex(2)), however far it moved; or
* the clock goes on from the mark: within one boot as fast as the boot clock, and over a restart by no
  more than `LONGEST_PAUSE_S`.

In doubt, the time is the mark plus what the boot clock counted since. That is too early rather than too
late, so nothing is over before its time; and nothing is suspended or destroyed until the doubt is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import fcntl
import functools
import logging
import os
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from blockhost import boot_clock, paths
from blockhost.errors import BlockhostError, DamagedFile, FieldError
from blockhost.fields import Fields
from blockhost.files import read_sealed, write_sealed
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_

log = logging.getLogger(__name__)

#: How far the clock may be from where the boot clock puts it: drift, and small corrections by hand.
TOLERANCE_S = 3600.0
#: How long a machine may have been off, if nothing but its own battery says so.
LONGEST_PAUSE_S = 24 * 3600.0
#: The mark is moved this often at most.
MOVE_EVERY_S = 300.0

HINT = N_(
    "`timedatectl` tells about the clock. Once it synchronises, all goes on by itself; without a time"
    " server, set it, then `blockhost-clock trust`."
)

#: Tells the time: `utc_now`, or a test's.
Clock = Callable[[], datetime.datetime]

_STA_UNSYNC = 0x40
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Reading:
    """The time, as well as it is known; `doubt` says why nothing may end by it, "" if it may."""

    now: datetime.datetime
    doubt: str = ""

    @property
    def hint(self) -> str:
        """What to do about a doubt."""
        return _(HINT) if self.doubt else ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment that was believed: seconds since the epoch, and the boot clock then. Without a boot,
    nothing is known but that it has passed."""

    wall: float
    boot_id: str = ""
    uptime: float = 0.0

    def least(self) -> float:
        """It is at least so late now."""
        if not self.boot_id:
            return self.wall
        return self.wall + boot_clock.seconds() - (self.uptime if self.is_of_this_boot else 0.0)

    @property
    def is_of_this_boot(self) -> bool:
        return self.boot_id == boot_clock.boot_id() and self.uptime <= boot_clock.seconds()


def read() -> Reading:
    """The time now. Changes nothing."""
    try:
        return _judge(_stored())
    except DamagedFile as damage:
        return Reading(_moment(_wall()), str(damage))


def utc_now() -> datetime.datetime:
    """The time now; in doubt, the least that it can be."""
    return read().now


def note(history: Callable[[], datetime.datetime | None] | None = None) -> Reading:
    """The time now; when it is believed, the mark moves on.

    Without a mark, `history` tells the newest moment that is on record. There is none: the first
    clock is believed, since there is nothing that could end by it.
    """
    with _locked():
        try:
            mark = _stored()
        except DamagedFile as damage:
            return Reading(_moment(_wall()), str(damage))
        if mark is None and history is not None:
            newest = history()
            mark = _here() if newest is None else Mark(newest.timestamp())
            _store(mark)
        reading = _judge(mark)
        if mark is not None and not reading.doubt and _is_worth_moving(mark):
            _store(_here())
        return reading


def trust() -> datetime.datetime:
    """The operator says that the clock is right; returns what it says."""
    with _locked():
        mark = _here()
        _store(mark)
    return _moment(mark.wall)


def require() -> None:
    """Refuse to set a term by a clock that is in doubt.

    Raises:
        BlockhostError: it is; the message says why.
    """
    reading = read()
    if reading.doubt:
        raise BlockhostError(reading.doubt, hint=reading.hint)


def is_synchronised() -> bool:
    """Whether a time server keeps the kernel's clock.

    No where a sandbox forbids to ask (ProtectClock): that service goes by the mark alone, which the
    provisioner's gc moves every few minutes.
    """
    buffer = ctypes.create_string_buffer(512)  # struct timex; modes 0 only reads
    if _libc.adjtimex(buffer) < 0:
        return False
    status: int = struct.unpack_from("@Illlli", buffer)[5]
    return not status & _STA_UNSYNC


def raw() -> datetime.datetime:
    """What the clock says, believed or not."""
    return _moment(_wall())


def as_text(moment: datetime.datetime) -> str:
    """A time for people: `2027-01-31 14:05 UTC`."""
    return f"{moment.astimezone(datetime.UTC):%Y-%m-%d %H:%M} UTC"


def file() -> Path:
    return paths.state_dir() / "clock.json"


def _judge(mark: Mark | None) -> Reading:
    wall = _wall()
    if mark is None or is_synchronised():
        return Reading(_moment(wall))
    least = mark.least()
    most = least + (TOLERANCE_S if mark.is_of_this_boot else LONGEST_PAUSE_S)
    if least - TOLERANCE_S <= wall <= most:
        return Reading(_moment(wall))
    texts = {"wall": as_text(_moment(wall)), "least": as_text(_moment(least))}
    why = (
        _("the clock cannot be relied on: it says %(wall)s, which is before %(least)s")
        if wall < least
        else _("the clock cannot be relied on: it says %(wall)s, and the last that is known is %(least)s")
    )
    return Reading(_moment(least), why % texts)


def _is_worth_moving(mark: Mark) -> bool:
    if not mark.is_of_this_boot:
        return True
    is_old = boot_clock.seconds() - mark.uptime >= MOVE_EVERY_S
    return is_old or abs(_wall() - mark.least()) > TOLERANCE_S


def _here() -> Mark:
    return Mark(_wall(), boot_clock.boot_id(), boot_clock.seconds())


def _wall() -> float:
    return time.time()


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _stored() -> Mark | None:
    """The mark on the disk; parsed once for each state of the file, since every time is asked here.

    Raises:
        DamagedFile: there is one, and it cannot be read.
    """
    try:
        found = file().stat()
        return _parsed(file(), (found.st_ino, found.st_mtime_ns))
    except FileNotFoundError:
        return None
    except (DamagedFile, FieldError):
        remedy = _("If the clock is right: `blockhost-clock trust`")
        raise DamagedFile(file(), _("the last known time cannot be read"), remedy=remedy) from None


@functools.lru_cache(maxsize=1)
def _parsed(path: Path, _state: tuple[int, int]) -> Mark:
    fields = Fields(read_sealed(path), source=str(path))
    return Mark(fields.take("wall", float), fields.take("boot_id", str), fields.take("uptime", float))


def _store(mark: Mark) -> None:
    write_sealed(file(), asdict(mark), mode=0o640, owner="blockhost", group="blockhost")


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """One writer at a time. The directory itself is locked: any of its users may open it."""
    descriptor = os.open(paths.state_dir(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
