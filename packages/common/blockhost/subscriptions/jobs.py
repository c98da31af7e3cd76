"""The book of jobs: /var/lib/blockhost/jobs.db, one row for each subscription.

An event and the reader's new position are written in one transaction, so none is lost or counted
twice. An action is noted before its effect. `wakes` counts the events: a job is settled only if no
event came while it was worked on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from blockhost import paths, wall_clock
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.sqlite_file import Schema, SqliteFile
from blockhost.subscriptions.source import Event

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE jobs (
            subscription INTEGER PRIMARY KEY,
            status TEXT NOT NULL,
            due_at INTEGER,
            attempts INTEGER NOT NULL DEFAULT 0,
            wakes INTEGER NOT NULL DEFAULT 0,
            doing TEXT,
            note TEXT NOT NULL DEFAULT '',
            hint TEXT NOT NULL DEFAULT '',
            token INTEGER,
            served_until INTEGER,
            owner_in_guest TEXT,
            delivered TEXT,
            created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL
        ) STRICT""",
        "CREATE INDEX jobs_by_due ON jobs (status, due_at)",
        "CREATE TABLE positions (source TEXT PRIMARY KEY, position TEXT NOT NULL) STRICT",
    ),
)
SCHEMA = Schema(N_("book of jobs"), 0x424C4A31, MIGRATIONS)  # "BLJ1"

#: Seconds before the second attempt; every further wait is twice as long, up to the longest.
FIRST_WAIT_S = 5
LONGEST_WAIT_S = 900
#: After so many failures in a row (about an hour) a job waits for the operator.
MOST_ATTEMPTS = 12


class JobStatus(StrEnum):
    """`due`: to be worked on at `due_at`. `settled`: as it should be, looked at again at `due_at`.
    `parked`: given up until the operator or a new event says otherwise."""

    DUE = "due"
    SETTLED = "settled"
    PARKED = "parked"


@dataclass(frozen=True, slots=True)
class Job:
    """What is known of the work for one subscription; times in seconds since the epoch."""

    subscription: int
    status: str
    due_at: int | None
    attempts: int
    wakes: int
    #: The action whose effect was about to happen; what a crash left here may have happened or not.
    doing: str | None
    note: str
    hint: str
    token: int | None
    #: The end that the machine was last brought in line with.
    served_until: int | None
    owner_in_guest: str | None
    delivered: str | None
    created_at: int
    updated_at: int


def default_path() -> Path:
    return paths.state_dir() / "jobs.db"


class JobStore:
    """The book, shared by the monitor's threads and by the operator's command."""

    def __init__(
        self, path: Path | None = None, *, clock: wall_clock.Clock = wall_clock.utc_now, create: bool = True
    ) -> None:
        self._file = SqliteFile(path or default_path(), SCHEMA, create=create)
        self._clock = clock

    def close(self) -> None:
        self._file.close()

    # --- events ------------------------------------------------------------------------------

    def position(self, source: str) -> str:
        """How far a source's events have been read; "" at the beginning."""
        row = self._file.one("SELECT position FROM positions WHERE source = ?", (source,))
        return "" if row is None else str(row["position"])

    def take_in(self, source: str, events: Sequence[Event]) -> None:
        """Wake the jobs of these events, parked ones too, and remember the position behind them."""
        if not events:
            return
        with self._file.transaction() as database:
            for event in events:
                self._wake(database, event.subscription)
            database.execute(
                "INSERT OR REPLACE INTO positions (source, position) VALUES (?, ?)",
                (source, events[-1].position),
            )

    def ensure(self, numbers: Iterable[int]) -> None:
        """Give every subscription without a job one."""
        known = {row["subscription"] for row in self._file.rows("SELECT subscription FROM jobs")}
        missing = [number for number in numbers if number not in known]
        if missing:
            with self._file.transaction() as database:
                for number in missing:
                    self._wake(database, number)

    # --- work --------------------------------------------------------------------------------

    def due(self, besides: Collection[int] = (), limit: int = 50) -> list[Job]:
        """Jobs whose time has come, the longest waiting first.

        One that waits longer than any attempt does got its time from a clock that was wrong.
        """
        now = self._now()
        rows = self._file.rows(
            "SELECT * FROM jobs WHERE status IN ('due', 'settled') AND due_at <= ?"
            " OR status = 'due' AND due_at > ? ORDER BY due_at, subscription LIMIT ?",
            (now, now + LONGEST_WAIT_S, limit + len(besides)),
        )
        jobs = [Job(**dict(row)) for row in rows]
        return [job for job in jobs if job.subscription not in besides][:limit]

    def begin(self, job: Job, action: str, *, is_new_machine: bool = False) -> Job:
        """Note, durably, what is about to be done. A new machine knows nothing of the one before."""
        forgotten = ", owner_in_guest = NULL, delivered = NULL" if is_new_machine else ""
        return self._change(job.subscription, f"doing = ?{forgotten}", action)

    def know(self, job: Job, column: str, value: object) -> Job:
        """Note a fact: `token`, `owner_in_guest` or `delivered`."""
        assert column in ("token", "owner_in_guest", "delivered")
        return self._change(job.subscription, f"{column} = ?", value)

    def settle(self, job: Job, *, until: int | None, note: str = "", served_until: int | None = None) -> None:
        """All is as it should be until then; unless an event came meanwhile: then look again now."""
        self._finish(
            job,
            status=JobStatus.SETTLED,
            due_at=until,
            attempts=0,
            note=note,
            hint="",
            served_until=job.served_until if served_until is None else served_until,
        )

    def postpone(self, job: Job, reason: str, hint: str = "") -> None:
        """Look again in a while; nothing has failed."""
        self._finish(
            job,
            status=JobStatus.DUE,
            due_at=self._now() + LONGEST_WAIT_S,
            note=reason,
            hint=hint,
        )

    def fail(self, job: Job, error: str, hint: str = "", *, is_hopeless: bool = False) -> bool:
        """An attempt failed: try again later, or park it. Returns whether it was parked."""
        attempts = job.attempts + 1
        is_parked = is_hopeless or attempts >= MOST_ATTEMPTS
        self._finish(
            job,
            status=JobStatus.PARKED if is_parked else JobStatus.DUE,
            due_at=None if is_parked else self._now() + wait_s(attempts),
            attempts=attempts,
            note=error,
            hint=hint,
            served_until=job.served_until,
        )
        return is_parked

    # --- the operator ------------------------------------------------------------------------

    def get(self, number: int) -> Job:
        """The job of that subscription.

        Raises:
            BlockhostError: there is none.
        """
        row = self._file.one("SELECT * FROM jobs WHERE subscription = ?", (number,))
        if row is None:
            raise BlockhostError(
                _("there is no job for subscription %(number)s") % {"number": number},
                hint=_("`blockhost-subscriptions list` shows them."),
            )
        return Job(**dict(row))

    def find(self, number: int) -> Job | None:
        row = self._file.one("SELECT * FROM jobs WHERE subscription = ?", (number,))
        return None if row is None else Job(**dict(row))

    def all(self, status: str | None = None) -> list[Job]:
        """All jobs by subscription, or those with one status."""
        rows = self._file.rows(
            "SELECT * FROM jobs WHERE ? IS NULL OR status = ? ORDER BY subscription", (status, status)
        )
        return [Job(**dict(row)) for row in rows]

    def retry(self, number: int) -> None:
        """Work on it now, as if it had never failed. A machine that is gone is made again."""
        self.get(number)
        with self._file.transaction() as database:
            self._wake(database, number)
            database.execute("UPDATE jobs SET served_until = NULL WHERE subscription = ?", (number,))

    def drop(self, number: int) -> None:
        """Leave it as it is, until something about the subscription changes."""
        self.get(number)
        self._change(
            number,
            "status = 'settled', due_at = NULL, attempts = 0, wakes = wakes + 1, hint = '',"
            " note = 'dropped by the operator: ' || note",
        )

    def _wake(self, database: sqlite3.Connection, number: int) -> None:
        database.execute(
            "INSERT INTO jobs (subscription, status, due_at, created_at, updated_at)"
            " VALUES (?1, 'due', ?2, ?2, ?2)"
            " ON CONFLICT (subscription) DO UPDATE SET status = 'due', due_at = ?2, attempts = 0,"
            " wakes = wakes + 1, note = '', hint = '', updated_at = ?2",
            (number, self._now()),
        )

    def _finish(self, job: Job, **values: object) -> None:
        """Write how an attempt ended, if no event has come since `job` was read; else it stays due."""
        names = ", ".join(f"{name} = ?" for name in values)
        with self._file.transaction() as database:
            database.execute(
                f"UPDATE jobs SET {names}, updated_at = ? WHERE subscription = ? AND wakes = ?",  # noqa: S608
                (*values.values(), self._now(), job.subscription, job.wakes),
            )
            database.execute("UPDATE jobs SET doing = NULL WHERE subscription = ?", (job.subscription,))

    def _change(self, number: int, assignments: str, *values: object) -> Job:
        with self._file.transaction() as database:
            database.execute(
                f"UPDATE jobs SET {assignments}, updated_at = ? WHERE subscription = ?",  # noqa: S608
                (*values, self._now(), number),
            )
        return self.get(number)

    def _now(self) -> int:
        return int(self._clock().timestamp())


def wait_s(attempts: int) -> int:
    """Seconds until the next attempt, after so many that failed."""
    return int(min(FIRST_WAIT_S * 2 ** (attempts - 1), LONGEST_WAIT_S))
