"""Opening the ledger: one SQLite file, write-ahead log, every commit on the disk before it counts.

`create` is for the finalization step alone. Everyone else calls `open_ledger`, which refuses to
start an empty book: on a volume that is not mounted, that would look like a host without owners.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from blockhost import paths, wall_clock
from blockhost.engine_local.ledger.schema import APPLICATION_ID, LATEST, MIGRATIONS
from blockhost.errors import BlockhostError, DamagedFile
from blockhost.files import write_atomic
from blockhost.i18n import gettext as _

NAME = "ledger.db"
MODE = 0o640
OWNER = "blockhost"

#: SQLite takes a file shorter than one page for a new, empty database. For us it is a lost one.
SMALLEST = 512

#: How long a writer waits for another one; a transaction here takes milliseconds.
BUSY_S = 30.0


class LedgerMissing(BlockhostError):
    """There is no ledger on this host yet."""


class Ledger:
    """One open connection. All statements of one change run inside `transaction()`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """A write transaction, alone on this ledger; durable when it ends, undone when it raises."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def execute(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        return self._connection.execute(statement, values)

    def one(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Row | None:
        """The first row, or None."""
        row: sqlite3.Row | None = self.execute(statement, values).fetchone()
        return row

    def version(self) -> int:
        """The number of the last migration applied."""
        return int(self.execute("PRAGMA user_version").fetchone()[0])

    def complaints(self) -> list[str]:
        """What SQLite's own check says about the file; nothing when it is sound."""
        return [row[0] for row in self.execute("PRAGMA quick_check") if row[0] != "ok"]


def path() -> Path:
    return paths.state_dir() / NAME


def now() -> int:
    """Seconds since the epoch: what the ledger's times are."""
    return int(wall_clock.utc_now().timestamp())


def create() -> None:
    """Make the ledger, or bring an existing one up to date; as often as you like."""
    if not path().exists():
        write_atomic(path(), b"", mode=MODE, owner=OWNER, group=OWNER)
    with _opened(path()) as ledger:
        _migrate(ledger, LATEST)


@contextlib.contextmanager
def open_ledger() -> Iterator[Ledger]:
    """The host's ledger, brought up to date.

    Raises:
        LedgerMissing: it was never made.
        DamagedFile: it is not one of ours, or SQLite cannot read it.
    """
    if not path().exists():
        raise _missing()
    with _opened(path()) as ledger:
        if ledger.version() == 0:  # `create` did not get to its first migration
            raise _missing()
        if ledger.version() < LATEST:
            _migrate(ledger, LATEST)
        yield ledger


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Ledger]:
    try:
        connection = sqlite3.connect(
            f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_S, isolation_level=None
        )
    except sqlite3.Error as error:
        raise _unusable(file, error) from error
    with contextlib.closing(connection):
        try:
            _prepare(connection, file)
            yield Ledger(connection)
        except sqlite3.IntegrityError:
            raise  # a bug of ours, not damage: let it be seen
        except sqlite3.Error as error:
            raise _unusable(file, error) from error


def _prepare(connection: sqlite3.Connection, file: Path) -> None:
    if 0 < file.stat().st_size < SMALLEST:
        raise _damaged(file, _("it is cut short"))
    connection.row_factory = sqlite3.Row
    for setting in ("synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF"):
        connection.execute(f"PRAGMA {setting}")
    found, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if found not in {0, APPLICATION_ID} or (found == 0 and version != 0):
        raise _damaged(file, _("it is another program's database"))
    if version > LATEST:
        raise BlockhostError(
            _("%(path)s was written by a newer version of this engine (schema %(found)d, known %(known)d)")
            % {"path": file, "found": version, "known": LATEST},
            hint=_("Upgrade blockhost-engine-local."),
        )


def _migrate(ledger: Ledger, target: int) -> None:
    """Apply what is missing, one transaction each; another process may be doing the same."""
    mode = ledger.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise _damaged(path(), _("its file system allows no write-ahead log"))
    for number in range(1, target + 1):
        with ledger.transaction():
            if ledger.version() >= number:
                continue
            for statement in MIGRATIONS[number - 1].split(";\n"):
                ledger.execute(statement)
            ledger.execute(f"PRAGMA user_version = {number}")
            ledger.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _missing() -> LedgerMissing:
    return LedgerMissing(
        _("%(path)s: there is no ledger yet") % {"path": path()},
        hint=_("Setup makes it. After setup, restore it from a backup or mount its volume."),
    )


def _unusable(file: Path, error: sqlite3.Error) -> BlockhostError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return _damaged(file, str(error))
    return BlockhostError(
        f"{file}: {error}", hint=_("Run it as the user “blockhost” or as root; is the disk full?")
    )


def _damaged(file: Path, reason: str) -> DamagedFile:
    return DamagedFile(
        file,
        reason,
        remedy=_("Stop the services, restore %(path)s from a backup, or copy out with `sqlite3 … .recover`")
        % {"path": file},
    )
