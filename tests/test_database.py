"""The one place that commits: what stays, what goes, and who is told (ASVS 2.3.3)."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError, StatementError
from sqlalchemy.orm import Session

from gqlauth import Auth, Settings, migrations
from gqlauth.columns import new_id
from gqlauth.database import Database, emit
from gqlauth.errors import InvalidInput
from gqlauth.events import Event, Events, UserSignedUp
from gqlauth.runtime import Runtime
from gqlauth.users.models import UserColumns
from tests.tables import User

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def runtime(auth: Auth) -> Iterator[Runtime]:
    migrations.upgrade(auth.runtime.database)
    yield auth.runtime
    auth.runtime.database.dispose()


@pytest.fixture
def heard(runtime: Runtime) -> list[Event]:
    events: list[Event] = []
    runtime.events.subscribe(events.append)
    return events


def user(name: str = "ada", created_at: datetime = NOON) -> UserColumns:
    return User(email=name, email_key=name, password_hash="none", created_at=created_at)


def names(runtime: Runtime) -> list[str]:
    with runtime.database.read() as db:
        return list(db.scalars(sa.select(User.email).order_by(User.email)))


def event() -> UserSignedUp:
    return UserSignedUp(user_id=UUID(int=1))


def test_a_transaction_commits_and_then_tells(runtime: Runtime, heard: list[Event]) -> None:
    with runtime.database.transaction() as db:
        db.add(user())
        emit(db, event())
        assert heard == []
    assert names(runtime) == ["ada"]
    assert heard == [event()]


def test_what_is_told_is_already_there_for_everybody(runtime: Runtime) -> None:
    """A listener that opens a transaction of its own neither waits for ever nor misses the change."""
    seen: list[list[str]] = []

    def listen(event: Event) -> None:
        with runtime.database.transaction() as db:
            db.add(user("of the listener"))
        seen.append(names(runtime))

    runtime.events.subscribe(listen)
    with runtime.database.transaction() as db:
        db.add(user())
        emit(db, event())
    assert seen == [["ada", "of the listener"]]


def test_a_refusal_commits_tells_and_goes_on_to_the_caller(runtime: Runtime, heard: list[Event]) -> None:
    with pytest.raises(InvalidInput), runtime.database.transaction() as db:
        db.add(user())
        emit(db, event())
        raise InvalidInput
    assert names(runtime) == ["ada"]
    assert heard == [event()]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_any_other_exception_rolls_back_and_tells_nothing(
    runtime: Runtime, heard: list[Event], error: type[BaseException]
) -> None:
    with pytest.raises(error), runtime.database.transaction() as db:
        db.add(user())
        db.flush()
        emit(db, event())
        raise error
    assert names(runtime) == []
    assert heard == []
    with runtime.database.transaction() as db:  # and the writer's place is free again
        db.add(user())


def test_a_commit_that_fails_tells_nothing(runtime: Runtime, heard: list[Event]) -> None:
    with pytest.raises(DBAPIError), runtime.database.transaction() as db:
        db.add_all([user(), user()])
        emit(db, event())
    assert names(runtime) == []
    assert heard == []


def test_a_listener_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Event] = []

    def fail(event: Event) -> None:
        raise RuntimeError("broken listener")

    Events(fail, heard.append).publish(event(), event())
    assert heard == [event(), event()]
    assert [record.message for record in caplog.records] == ["a listener failed on UserSignedUp"] * 2


def test_a_time_comes_back_in_utc_whatever_its_zone(runtime: Runtime) -> None:
    kolkata = timezone(timedelta(hours=5, minutes=30))
    with runtime.database.transaction() as db:
        db.add(user(created_at=NOON.astimezone(kolkata)))
    with runtime.database.read() as db:
        created_at = db.scalars(sa.select(User.created_at)).one()
        # Compared in the database, too: the stored form sorts by time.
        assert db.scalar(sa.select(User.id).where(User.created_at < NOON)) is None
        assert db.scalar(sa.select(User.id).where(User.created_at <= NOON.astimezone(kolkata))) is not None
    assert created_at == NOON
    assert created_at.utcoffset() == timedelta(0)


def test_a_time_without_a_zone_is_refused(runtime: Runtime) -> None:
    with pytest.raises(StatementError, match="without a timezone"), runtime.database.transaction() as db:
        db.add(user(created_at=NOON.replace(tzinfo=None)))


def test_a_key_sorts_by_the_time_at_which_it_was_made() -> None:
    keys = [new_id() for _ in range(1000)]
    assert keys == sorted(keys)
    assert {key.version for key in keys} == {7}


def test_what_a_failing_statement_was_given_is_not_in_the_error(runtime: Runtime) -> None:
    """ASVS 16.2.5: the error goes to the log."""
    with pytest.raises(DBAPIError) as failed, runtime.database.transaction() as db:
        db.execute(sa.text("SELECT :secret FROM nowhere"), {"secret": "a password's hash"})
    assert "a password's hash" not in str(failed.value)


def test_two_writers_that_read_first_both_succeed(runtime: Runtime, database_url: str) -> None:
    """Two processes, each with an engine of its own: a transaction that reads and then writes never fails half-way."""
    other = Database(Settings(environment="test", database_url=database_url).url, Events())
    begin = threading.Barrier(2)

    def write(database: Database, letter: str) -> None:
        begin.wait()
        for number in range(25):
            with database.transaction() as db:
                db.scalar(sa.select(sa.func.count()).select_from(User))
                db.add(user(f"{letter}{number}"))

    try:
        with ThreadPoolExecutor(2) as threads:
            for done in [threads.submit(write, runtime.database, "a"), threads.submit(write, other, "b")]:
                done.result()
    finally:
        other.dispose()
    assert len(names(runtime)) == 50


def test_a_reader_waits_for_no_writer(runtime: Runtime) -> None:
    with runtime.database.transaction() as db:
        db.add(user())
        db.flush()
        assert names(runtime) == []


# SQLite alone


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gqlauth.db"


def open_database(file: Path) -> Database:
    return Database(Settings(database_url=f"sqlite:///{file}").url, Events())


def test_the_file_and_its_companions_are_readable_by_their_owner_alone(file: Path) -> None:
    before = os.umask(0)
    database = open_database(file)
    try:
        migrations.upgrade(database)
        with database.transaction() as db:
            db.add(user())
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
    finally:
        os.umask(before)
        database.dispose()
    assert modes == {"gqlauth.db": 0o600, "gqlauth.db-wal": 0o600, "gqlauth.db-shm": 0o600}


def test_the_mode_of_a_file_that_is_there_is_left_alone(file: Path) -> None:
    file.touch(0o640)
    database = open_database(file)
    migrations.upgrade(database)
    database.dispose()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


@pytest.mark.parametrize("place", ["missing/gqlauth.db", "."])
def test_a_file_that_cannot_be_made_is_the_databases_error(tmp_path: Path, place: str) -> None:
    database = open_database(tmp_path / place)
    with pytest.raises(OperationalError, match="unable to open database file"):
        migrations.upgrade(database)


def test_sqlite_enforces_foreign_keys_in_wal_mode(file: Path) -> None:
    database = open_database(file)
    with database.read() as db:
        assert pragma(db, "foreign_keys") == 1
        assert pragma(db, "journal_mode") == "wal"
        assert pragma(db, "synchronous") == 2  # FULL: what was acknowledged survives the loss of power
        assert pragma(db, "busy_timeout") == 10_000
    database.dispose()


def pragma(db: Session, name: str) -> object:
    return db.execute(sa.text(f"PRAGMA {name}")).scalar()
