"""The ledger: numbers that are given once, migrations, and what it refuses to be."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sqlite3
import stat

import pytest

from blockhost import wall_clock
from blockhost.engine_local import identity, ledger
from blockhost.engine_local.ledger import credentials, open_ledger, plans, schema, store, subscriptions
from blockhost.engine_local.ledger.plans import Offer
from blockhost.engine_local.ledger.subscriptions import State
from blockhost.errors import BlockhostError, DamagedFile
from testing.fakes.clocks import Clocks

OWNER = "SHA256:" + "a" * 43
OTHER = "SHA256:" + "b" * 43
SMALL = Offer("Small", 50)
TEN_YEARS = 10 * 365 * 86_400


def test_credentials_count_from_zero(book):
    with open_ledger() as open_book:
        assert [credentials.mint(open_book, OWNER) for _ in range(3)] == [0, 1, 2]


def test_same_occasion_mints_once(book):
    with open_ledger() as open_book:
        first = credentials.mint(open_book, OWNER, once="order 12")
        assert credentials.mint(open_book, OWNER, once="order 12") == first
        assert credentials.mint(open_book, OWNER, once="order 13") == first + 1


def test_occasion_of_somebody_else_is_refused(book):
    with open_ledger() as open_book:
        credentials.mint(open_book, OWNER, once="order 12")
        with pytest.raises(BlockhostError, match="already minted"):
            credentials.mint(open_book, OTHER, once="order 12")


def test_owner_and_text_can_change(book, key):
    with open_ledger() as open_book:
        token = credentials.mint(open_book, OWNER)
        credentials.set_user_encrypted(open_book, token, "0xff")
        credentials.transfer(open_book, token, identity.load_public_key(str(key.public)))
        found = credentials.get(open_book, token)
    assert (found.owner, found.user_encrypted) == (key.fingerprint, "0xff")
    assert found.public_key == " ".join(key.public.read_text().split()[:2])


def test_no_term_is_set_by_a_clock_in_doubt(book, key, monkeypatch):
    clocks = Clocks.install(monkeypatch)
    wall_clock.trust()
    public = identity.load_public_key(str(key.public))
    with open_ledger() as open_book:
        plan = plans.create(open_book, SMALL)
        number = subscriptions.grant(open_book, public, plan_id=plan, days=2)
        clocks.jump(-TEN_YEARS)
        for attempt in (
            lambda: subscriptions.grant(open_book, public, plan_id=plan, days=2),
            lambda: subscriptions.extend(open_book, number, days=2),
        ):
            with pytest.raises(BlockhostError, match="cannot be relied on"):
                attempt()
        clocks.jump(2 * TEN_YEARS)
        assert subscriptions.get(open_book, number).state() is State.ACTIVE
        clocks.jump(-TEN_YEARS)
        subscriptions.extend(open_book, number, days=2)
        assert subscriptions.get(open_book, number).expires_at == clocks.wall + 4 * 86_400


def test_unknown_numbers_are_named(book, key):
    with open_ledger() as open_book:
        for attempt in (
            lambda: credentials.get(open_book, 7),
            lambda: credentials.set_user_encrypted(open_book, 7, "0x"),
            lambda: credentials.transfer(open_book, 7, identity.load_public_key(str(key.public))),
            lambda: subscriptions.get(open_book, 7),
            lambda: subscriptions.revoke(open_book, 7),
        ):
            with pytest.raises(BlockhostError, match="7"):
                attempt()


def test_plan_name_is_taken_once(book):
    with open_ledger() as open_book:
        assert plans.create(open_book, SMALL) == 1
        with pytest.raises(BlockhostError, match="already a plan"):
            plans.create(open_book, Offer("Small", 60))
        assert [plan.offer for plan in plans.all_plans(open_book)] == [SMALL]


def test_ensured_plan_is_corrected_not_doubled(book):
    with open_ledger() as open_book:
        number = plans.ensure(open_book, SMALL)
        assert plans.ensure(open_book, Offer("Small", 75, cpu=2)) == number
        assert [plan.offer for plan in plans.all_plans(open_book)] == [Offer("Small", 75, cpu=2)]


def test_subscription_runs_out_is_extended_and_revoked(book, key, monkeypatch):
    clock = 1_800_000_000
    monkeypatch.setattr(subscriptions, "now", lambda: clock)
    with open_ledger() as open_book:
        plan = plans.create(open_book, SMALL)
        number = subscriptions.grant(
            open_book, identity.load_public_key(str(key.public)), plan_id=plan, days=2
        )
        clock += 86_400
        assert subscriptions.get(open_book, number).state() is State.ACTIVE
        clock += 86_400
        assert subscriptions.get(open_book, number).state() is State.EXPIRED
        clock += 10 * 86_400
        subscriptions.extend(open_book, number, days=1)
        assert subscriptions.get(open_book, number).expires_at == clock + 86_400
        subscriptions.extend(open_book, number, days=1)
        assert subscriptions.get(open_book, number).expires_at == clock + 2 * 86_400
        subscriptions.revoke(open_book, number)
        revoked_at = clock
        clock += 5
        subscriptions.revoke(open_book, number)
        assert subscriptions.get(open_book, number).cancelled_at == revoked_at
        assert subscriptions.get(open_book, number).state() is State.REVOKED
        with pytest.raises(BlockhostError, match="revoked"):
            subscriptions.extend(open_book, number, days=1)


def test_same_occasion_grants_once(book, key):
    with open_ledger() as open_book:
        plan = plans.create(open_book, SMALL)
        public = identity.load_public_key(str(key.public))
        numbers = [
            subscriptions.grant(open_book, public, plan_id=plan, days=3, once="invoice 1") for _ in range(2)
        ]
    assert numbers == [1, 1]


@pytest.mark.parametrize("name", ["", "  ", "x" * 65, "a\nb", "\x1b[2J", "-rf"])
def test_bad_plan_name_is_refused(name):
    with pytest.raises(ValueError):
        plans.check_name(name)


@pytest.mark.parametrize("text", ["", "0", "-1", "257", "1.5", "1e3", "٣", "9" * 30, " ", "0x1"])
def test_bad_number_of_processors_is_refused(text):
    with pytest.raises(ValueError, match="whole number from 1 to 256"):
        plans.check_number("cpu", text)


# --- the file ------------------------------------------------------------------------------


def test_files_are_private_and_every_commit_is_synced(book):
    with open_ledger() as open_book:
        credentials.mint(open_book, OWNER)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in book.parent.glob("ledger.db*")}
        assert modes == dict.fromkeys(("ledger.db", "ledger.db-wal", "ledger.db-shm"), 0o640)
        assert open_book.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
        assert open_book.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_missing_ledger_is_not_replaced_by_an_empty_one(root):
    with pytest.raises(ledger.LedgerMissing) as refusal, open_ledger():
        pass
    assert "restore" in refusal.value.hint
    assert not ledger.path().exists()


def test_empty_file_is_a_missing_ledger_and_create_completes_it(root):
    """What a kill between the file and its first migration leaves."""
    ledger.path().touch()
    with pytest.raises(ledger.LedgerMissing), open_ledger():
        pass
    ledger.create()
    with open_ledger() as open_book:
        assert open_book.version() == schema.LATEST


def test_creating_again_keeps_what_is_in_it(book):
    with open_ledger() as open_book:
        credentials.mint(open_book, OWNER)
    ledger.create()
    with open_ledger() as open_book:
        assert credentials.get(open_book, 0).owner == OWNER


@pytest.mark.parametrize("version", range(1, schema.LATEST))
def test_older_ledger_is_migrated_with_its_rows(root, monkeypatch, version):
    monkeypatch.setattr(store, "LATEST", version)
    ledger.create()
    with store.open_ledger() as old:
        assert old.version() == version
        old.execute("INSERT INTO credentials (id, owner, minted_at) VALUES (0, ?, 1)", (OWNER,))
    monkeypatch.undo()
    monkeypatch.setenv("BLOCKHOST_ROOT", str(root))
    with open_ledger() as open_book:
        assert open_book.version() == schema.LATEST
        assert credentials.get(open_book, 0).owner == OWNER
        assert credentials.mint(open_book, OTHER) == 1
        plans.create(open_book, SMALL)
        assert open_book.complaints() == []


def test_failed_migration_leaves_the_version_before(root, monkeypatch):
    monkeypatch.setattr(store, "LATEST", 1)
    ledger.create()
    broken = (schema.MIGRATIONS[0], "CREATE TABLE extra (id INTEGER);\nCREATE TABLE nonsense (;\n")
    monkeypatch.setattr(store, "LATEST", 2)
    monkeypatch.setattr(store, "MIGRATIONS", broken)
    with pytest.raises(BlockhostError), store.open_ledger():
        pass
    with contextlib.closing(sqlite3.connect(ledger.path())) as raw:
        assert raw.execute("PRAGMA user_version").fetchone()[0] == 1
        assert raw.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'extra'").fetchone()[0] == 0


def test_newer_ledger_is_left_alone(book):
    with contextlib.closing(sqlite3.connect(book)) as raw:
        raw.execute("PRAGMA user_version = 99")
    with pytest.raises(BlockhostError, match="newer version"), open_ledger():
        pass


def test_another_programs_database_is_refused(root):
    with contextlib.closing(sqlite3.connect(ledger.path())) as raw:
        raw.execute("PRAGMA application_id = 7")
        raw.execute("CREATE TABLE things (id INTEGER)")
    with pytest.raises(DamagedFile, match="another program"):
        ledger.create()


@pytest.mark.parametrize("size", [1, 15, 16, 99, 100, 1000, 4095, 4096, 8192])
def test_truncated_ledger_is_reported_with_a_remedy(book, size):
    with contextlib.closing(sqlite3.connect(book)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.truncate(book, size)
    with pytest.raises(DamagedFile) as refusal, open_ledger() as open_book:  # noqa: PT012
        credentials.mint(open_book, OWNER)
        if open_book.complaints():
            raise DamagedFile(book, "complaint", remedy="restore")
    assert "restore" in refusal.value.hint


@pytest.mark.parametrize("size", [1, 100, 511])
def test_stump_is_not_filled_by_setup(book, size):
    os.truncate(book, size)
    with pytest.raises(DamagedFile, match="cut short"):
        ledger.create()


def test_garbage_is_not_overwritten(root):
    ledger.path().write_text("these are somebody's notes, not a database\n" * 100)
    with pytest.raises(DamagedFile):
        ledger.create()
    assert ledger.path().read_text().startswith("these are")


def _mint_many(count, numbers):
    for _ in range(count):
        with open_ledger() as open_book:
            numbers.append(credentials.mint(open_book, OWNER))


def _mint_occasion(numbers):
    with open_ledger() as open_book:
        numbers.append(credentials.mint(open_book, OWNER, once="order 12"))


@pytest.mark.parametrize("work", [(_mint_many, (25,)), (_mint_occasion, ())], ids=["many", "one occasion"])
def test_processes_never_share_a_number(book, work):
    function, arguments = work
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager:
        numbers = manager.list()
        processes = [context.Process(target=function, args=(*arguments, numbers)) for _ in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0, 0, 0, 0]
        found = sorted(numbers)
    assert found == (list(range(100)) if arguments else [0, 0, 0, 0])


def _mint_and_die(before_commit):
    with open_ledger() as open_book:
        if before_commit:
            execute = open_book.execute

            def dying(statement, values=()):
                result = execute(statement, values)
                if statement.startswith("INSERT INTO credentials"):
                    os.kill(os.getpid(), signal.SIGKILL)
                return result

            open_book.execute = dying
        credentials.mint(open_book, OWNER, once="order 12")
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("before_commit", [True, False])
def test_killed_mint_is_found_or_repeated_never_doubled(book, before_commit):
    process = multiprocessing.get_context("fork").Process(target=_mint_and_die, args=(before_commit,))
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    with open_ledger() as open_book:
        assert (credentials.find_once(open_book, "order 12") is None) is before_commit
        assert credentials.mint(open_book, OWNER, once="order 12") == 0
        assert len(credentials.owned_by(open_book, OWNER)) == 1
