"""One SQLite file of ours: durable, private, alone in a write, with an identity and numbered migrations.

Write-ahead log and `synchronous = FULL`: what a transaction committed, a power cut keeps. The file
says whose it is (`application_id`) and which migrations it has seen (`user_version`); another
program's database, a stump, or one of a newer version is refused with a remedy, never written to.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blockhost.errors import BlockhostError, DamagedFile
from blockhost.files import create_once
from blockhost.i18n import gettext as _

#: How long a writer waits for others; a transaction here takes milliseconds.
BUSY_S = 30.0
MODE = 0o640
#: SQLite takes a file shorter than one page for a new, empty database. For us it is a lost one.
SMALLEST = 512


@dataclass(frozen=True, slots=True)
class Schema:
    """What such a file is called, how it is told from others, and how it came to be."""

    name: str
    application_id: int
    migrations: tuple[tuple[str, ...], ...]
    #: A table that files from before the identity have.
    first_table: str = ""

    @property
    def latest(self) -> int:
        return len(self.migrations)


class SqliteFile:
    """One open database, shared by the threads of this process; processes share the file."""

    def __init__(self, path: Path | None, schema: Schema, *, create: bool = True) -> None:
        """Open it and bring it up to date. `path` None is one in memory.

        Raises:
            BlockhostError: it is missing and `create` is false, or this user may not open it.
            DamagedFile: it is not a database of ours, or SQLite cannot read it.
        """
        self.path = path
        self._schema = schema
        self._guard = threading.RLock()
        if path is not None:
            self._find(path, create=create)
        self._connection = self._connected(path)
        try:
            self._prepare(is_missing_allowed=create)
        except sqlite3.Error as error:
            self._connection.close()
            raise self._explained(error) from error
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        with self._guard:
            self._connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, and alone: a write lock from the first statement on. Inner ones join in."""
        with self._guard, self._errors_explained():
            if self._is_inside():
                yield self._connection
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._is_inside():  # SQLite rolls back by itself when the disk is full
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, query: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self._guard, self._errors_explained():
            return self._connection.execute(query, values).fetchall()

    def one(self, query: str, values: Sequence[object] = ()) -> sqlite3.Row | None:
        """The first row, or None."""
        with self._guard, self._errors_explained():
            row: sqlite3.Row | None = self._connection.execute(query, values).fetchone()
            return row

    def complaints(self) -> list[str]:
        """What SQLite's own check says about the file; nothing when it is sound."""
        try:
            return [row[0] for row in self.rows("PRAGMA quick_check") if row[0] != "ok"]
        except DamagedFile as damage:
            return [str(damage)]

    def pragma(self, name: str) -> Any:
        """One of SQLite's settings."""
        row = self.one(f"PRAGMA {name}")
        return None if row is None else row[0]

    def _is_inside(self) -> bool:
        return self._connection.in_transaction

    def _find(self, path: Path, *, create: bool) -> None:
        """The file must be there before SQLite opens it, with its mode from the first instant on.

        An existing one is not opened here: closing any descriptor of it would drop the locks that
        another connection of this process holds (fcntl(2)).
        """
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            if not create:
                raise self._missing() from None
            _make(path)
            return
        except OSError as error:
            raise BlockhostError(
                f"{path}: {error.strerror}", hint=_("Run it as root or as the user blockhost.")
            ) from error
        if 0 < size < SMALLEST:
            raise self._damaged(_("it is cut short"))

    def _connected(self, path: Path | None) -> sqlite3.Connection:
        target = ":memory:" if path is None else f"{path.absolute().as_uri()}?mode=rw"
        try:
            return sqlite3.connect(
                target, uri=path is not None, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _prepare(self, *, is_missing_allowed: bool) -> None:
        connection = self._connection
        connection.row_factory = sqlite3.Row
        for setting in ("synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF"):
            connection.execute(f"PRAGMA {setting}")
        version = self._checked_version()
        if version == 0 and not is_missing_allowed:  # a kill came before its first migration
            raise self._missing()
        if self.path is not None:
            self._write_ahead()
        if version < self._schema.latest:
            with self.transaction() as database:
                self._migrate(database)

    def _checked_version(self) -> int:
        known = self._schema
        owner, version = (
            int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("application_id", "user_version")
        )
        if owner not in (0, known.application_id):
            raise self._damaged(_("it is another program's database"))
        if owner == 0:
            tables = {row[0] for row in self._connection.execute("SELECT name FROM sqlite_schema")}
            if (tables or version) and not (version and known.first_table in tables):
                raise self._damaged(_("it is another program's database"))
        if version > known.latest:
            raise DamagedFile(
                self._shown(),
                _("schema %(version)s is newer than this program (it knows %(latest)s)")
                % {"version": version, "latest": known.latest},
                remedy=_("Upgrade blockhost-common"),
            )
        return version

    def _write_ahead(self) -> None:
        """Switch to the write-ahead log. Two processes doing so at once may see SQLITE_BUSY at once."""
        deadline = time.monotonic() + BUSY_S
        while True:
            try:
                mode = self._connection.execute("PRAGMA journal_mode").fetchone()[0]
                if mode != "wal":
                    mode = self._connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
                if mode != "wal":
                    raise self._damaged(_("its file system allows no write-ahead log"))
                return
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _migrate(self, database: sqlite3.Connection) -> None:
        """What is missing, all in one transaction; another process may have been faster."""
        version = int(database.execute("PRAGMA user_version").fetchone()[0])
        for number, statements in enumerate(self._schema.migrations[version:], start=version + 1):
            for statement in statements:
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {number}")
        database.execute(f"PRAGMA application_id = {self._schema.application_id}")

    @contextlib.contextmanager
    def _errors_explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise  # a bug of ours, not damage: let it be seen
        except sqlite3.ProgrammingError:
            raise
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _explained(self, error: sqlite3.Error) -> BlockhostError:
        code = _code(error)
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return self._damaged(str(error))
        if code == sqlite3.SQLITE_BUSY:
            return BlockhostError(_("%(file)s: another program keeps it locked") % {"file": self._shown()})
        if code == sqlite3.SQLITE_FULL:
            return BlockhostError(
                _("%(file)s: the disk is full") % {"file": self._shown()},
                hint=_("Nothing was changed. Free some space, then try again."),
            )
        return BlockhostError(
            f"{self._shown()}: {error}", hint=_("Run it as root or as the user blockhost; is the disk full?")
        )

    def _missing(self) -> BlockhostError:
        return BlockhostError(
            _("%(file)s: there is no %(name)s yet") % {"file": self._shown(), "name": _(self._schema.name)},
            hint=_("Setup makes it. After setup, restore it from a backup or mount its volume."),
        )

    def _damaged(self, reason: str) -> DamagedFile:
        return DamagedFile(
            self._shown(),
            reason,
            remedy=_(
                "Stop the services and restore the %(name)s from a backup, "
                "or copy out what can be "
                "read: sqlite3 %(file)s .recover"
            )
            % {"name": _(self._schema.name), "file": self._shown()},
        )

    def _shown(self) -> str:
        return self._schema.name if self.path is None else str(self.path)


def _make(path: Path) -> None:
    """An empty file that only its folder's owner and group may read, whatever the umask."""
    try:
        folder = path.parent.stat()
        # Root works for the services here.
        ids = (folder.st_uid, folder.st_gid) if os.geteuid() == 0 else (-1, -1)
        create_once(path, mode=MODE, ids=ids)
    except OSError as error:
        raise BlockhostError(f"{path}: {error.strerror}", hint=_("Has the setup been completed?")) from error


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF  # the low byte is the primary code
