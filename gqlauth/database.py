"""The engine, and the one place that commits."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from gqlauth.errors import AuthError, ConfigurationError
from gqlauth.events import Event, Events
from gqlauth.models import Models, create_models
from gqlauth.settings import is_in_memory, with_our_driver

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy.ext.asyncio import AsyncEngine

POOL_SIZE = 10
BUSY_TIMEOUT_SECONDS = 10
BUSY_TIMEOUT_MS = BUSY_TIMEOUT_SECONDS * 1000
# Drivers whose URLs have the options that ours have.
SAME_OPTIONS = ("psycopg", "psycopg_async", "psycopg2", "pysqlite", "aiosqlite")

# How psycopg and sqlite3 call a broken foreign key and a broken CHECK.
VALUE_RULES = frozenset({"23503", "23514", "SQLITE_CONSTRAINT_FOREIGNKEY", "SQLITE_CONSTRAINT_CHECK"})


class Database:
    """One engine and the classes on it. Every change goes through `transaction`, every plain look through `read`.

    `source` is a URL, or a host's engine: see `choose_engine`.
    """

    def __init__(self, source: URL | Engine | AsyncEngine, events: Events, models: Models | None = None) -> None:
        self.events = events
        self.models = models or create_models()
        self.source = source
        self.engine, self._is_ours = choose_engine(source)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        if self.is_sqlite and self.models.schema is not None:
            raise ConfigurationError("SQLite has no schemas: GQLAUTH_TABLE_SCHEMA is for PostgreSQL")
        self._sessions = sessionmaker(self.engine, expire_on_commit=False, autobegin=False)
        # SQLite has one writer. Threads that queue here are woken at once; in SQLite's own queue they poll.
        self._writer: AbstractContextManager[Any] = threading.Lock() if self.is_sqlite else nullcontext()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Commit what the block did, then publish the events it emitted.

        A refusal (`AuthError`) commits too, because what it counted or revoked must stay; then it goes on to the
        caller. Any other exception rolls back.
        """
        refusal: AuthError | None = None
        with self._writer, self._sessions() as db, db.begin():
            try:
                yield db
            except AuthError as error:
                refusal = error
        self.events.publish(*db.info.get("events", ()))
        if refusal is not None:
            raise refusal

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Look, and change nothing."""
        with self._sessions() as db, db.begin():
            db.connection(execution_options={"gqlauth_read": True})
            yield db

    def checkpoint(self) -> None:
        """Empty SQLite's log into its file, so that what was deleted is gone from both. PostgreSQL needs none of it.

        Nobody waits for it: while others read or write, as much is done as can be, and the next time does the rest.
        """
        if not self.is_sqlite:
            return
        fairy = self.engine.raw_connection()
        cursor = fairy.cursor()
        try:
            cursor.execute("PRAGMA busy_timeout = 0")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            # The connection goes back to the pool, where others rely on the timeout.
            cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            fairy.close()

    def readable_by_others(self) -> list[Path]:
        """Return the files of an SQLite database that other users of the machine can read or write."""
        if not self.is_sqlite:
            return []
        name = self.engine.url.database or ""
        files = [Path(name + suffix) for suffix in ("", "-wal", "-shm", "-journal")]
        return [file for file in files if file.exists() and file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]

    def dispose(self) -> None:
        """Close every connection, unless they are a host's."""
        if self._is_ours:
            self.engine.dispose()


def emit(db: Session, *events: Event) -> None:
    """Publish these events once the transaction has been committed."""
    db.info.setdefault("events", []).extend(events)


def broken_rule(error: IntegrityError) -> str | None:
    """Return what the database says where a CHECK or a foreign key was broken, else None.

    Never what the row holds, which is private.
    """
    broken: Any = error.orig
    code = getattr(broken, "sqlstate", None) or getattr(broken, "sqlite_errorname", None)
    if code not in VALUE_RULES:
        return None
    return str(broken.diag.message_primary if hasattr(broken, "diag") else broken)


def choose_engine(source: URL | Engine | AsyncEngine) -> tuple[Engine, bool]:
    """Return the engine to work with, and whether it is our own.

    The pool of a host's engine is shared where that changes nothing for the host: PostgreSQL by psycopg. On SQLite our
    transactions begin in another way, so there, and with another driver, ours is a small engine of its own on the same
    database. Raises `ConfigurationError` for one that another engine cannot reach by this URL alone.
    """
    if isinstance(source, URL):
        return create_engine(source), True
    if not hasattr(source, "url"):
        raise ConfigurationError("engine is an engine of SQLAlchemy's: a URL goes into Settings(database_url=...)")
    if isinstance(source, Engine) and (source.dialect.name, source.dialect.driver) == ("postgresql", "psycopg"):
        # Whatever the host's transactions are, ours lock rows and then read what others have committed.
        shared = source.execution_options(isolation_level="READ COMMITTED")
        shared.hide_parameters = True
        return shared, False
    return create_engine(_url_for_us(source)), True


def _url_for_us(source: Engine | AsyncEngine) -> URL:
    """Return the URL by which we reach the database of an engine that is not shared."""
    url = source.url
    if source.dialect.name not in ("sqlite", "postgresql"):
        raise ConfigurationError(f"gqlauth works on SQLite and PostgreSQL, not on {source.dialect.name}")
    if is_in_memory(url):
        raise ConfigurationError("the engine's SQLite database is in memory, where gqlauth cannot reach it: use a file")
    foreign = set() if source.dialect.driver in SAME_OPTIONS else set(url.query) - {"host", "port"}
    if foreign:
        raise ConfigurationError(
            f"psycopg knows no {', '.join(sorted(foreign))} of the engine's URL: set GQLAUTH_DATABASE_URL in its place"
        )
    return with_our_driver(url)


def create_engine(url: URL) -> Engine:
    """Return an engine whose transactions mean the same on SQLite and PostgreSQL.

    Raises `ConfigurationError` if the driver is not installed.
    """
    # Errors are logged, and what a statement was given is private: addresses, hashes, the signing key (ASVS 16.2.5).
    options: dict[str, Any] = {"pool_size": POOL_SIZE, "max_overflow": POOL_SIZE, "hide_parameters": True}
    if url.get_backend_name() != "sqlite":
        try:
            return sa.create_engine(url, pool_pre_ping=True, **options)
        except ModuleNotFoundError:
            raise ConfigurationError('PostgreSQL needs psycopg: pip install "gqlauth[postgres]"') from None
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS}, **options)
    sa.event.listen(engine, "do_connect", _create_file)
    sa.event.listen(engine, "connect", _configure_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _create_file(dialect: sa.Dialect, record: Any, arguments: Sequence[Any], options: dict[str, Any]) -> None:
    """Make a new database file readable by its owner alone: it holds the signing key. WAL files inherit the mode."""
    path = Path(arguments[0])
    # Where it cannot be made, SQLite says so itself.
    with suppress(OSError):
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _configure_sqlite(connection: Any, record: Any) -> None:
    # The driver must not open transactions by itself: `_begin_sqlite` says which kind.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    # What is deleted is overwritten in the file; the log is cut to nothing whenever it begins anew.
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA journal_size_limit = 0")
    _use_wal(connection)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL. On a new file that needs it alone for a moment, for which SQLite does not wait by itself."""
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at the start: a transaction that first reads and then writes would otherwise
    # fail half-way when another has written in between.
    read = connection.get_execution_options().get("gqlauth_read")
    connection.exec_driver_sql("BEGIN" if read else "BEGIN IMMEDIATE")


# What SQLAlchemy would write into a statement at each execution.
WRITTEN_OUT = {"render_postcompile": True}


class Lookup(Protocol):
    """Reads one row by its key, on the event loop."""

    async def get(self, key: UUID) -> Any | None:
        """Return the row, as a tuple, or None."""

    def close(self) -> None:
        """Close its connection."""


def lookup(database: Database, key: sa.SQLColumnExpression[UUID], columns: sa.Select[*tuple[Any, ...]]) -> Lookup:
    """Return the fastest way to read `columns` by `key` on this database."""
    if database.is_sqlite:
        return SQLiteLookup(database.engine, columns.where(key == sa.bindparam("key", None, sa.Uuid())))
    return PostgreSQLLookup(database.engine, key, columns)


class SQLiteLookup:
    """Runs the statement on the event loop: in WAL mode a reader waits for nobody, and a thread hop costs ten times it.

    The statement is compiled once, and the driver is asked directly: SQLAlchemy's part of a call is some five times the
    driver's.
    """

    def __init__(self, engine: Engine, statement: sa.Select[*tuple[Any, ...]]) -> None:
        compiled = statement.compile(dialect=engine.dialect, compile_kwargs=WRITTEN_OUT)
        self._sql = str(compiled)
        self._bind = sa.Uuid().dialect_impl(engine.dialect).bind_processor(engine.dialect) or _as_it_is
        self._convert = [
            column.type.dialect_impl(engine.dialect).result_processor(engine.dialect, None) or _as_it_is
            for column in statement.selected_columns
        ]
        self._fairy = engine.raw_connection()
        self._connection = self._fairy.driver_connection
        assert self._connection is not None  # noqa: S101 -- a fresh connection has its driver's

    async def get(self, key: UUID) -> tuple[Any, ...] | None:
        """Return the row, or None."""
        row = self._connection.execute(self._sql, (self._bind(key),)).fetchone()  # type: ignore[union-attr]
        if row is None:
            return None
        return tuple([convert(value) for convert, value in zip(self._convert, row, strict=True)])

    def close(self) -> None:
        """Give the connection back."""
        self._fairy.close()


def _as_it_is(value: Any) -> Any:
    return value


class PostgreSQLLookup:
    """Shares round trips: keys that arrive while a statement is in flight are asked for together in the next one.

    As on SQLite, the statement is compiled once and the driver is asked directly, on a connection that is kept. It is
    none of the pool's: a host's may be so small that nothing else would get one.
    """

    def __init__(self, engine: Engine, key: sa.SQLColumnExpression[UUID], columns: sa.Select[*tuple[Any, ...]]) -> None:
        self._engine = engine
        statement = columns.add_columns(key).where(key == sa.any_(sa.bindparam("keys", None, sa.ARRAY(sa.Uuid()))))
        self._sql = str(statement.compile(dialect=engine.dialect, compile_kwargs=WRITTEN_OUT))
        self._connection: psycopg.Connection[Any] | None = None
        self._waiting: dict[UUID, asyncio.Future[tuple[Any, ...] | None]] = {}
        self._worker: asyncio.Task[None] | None = None

    async def get(self, key: UUID) -> tuple[Any, ...] | None:
        """Return the row, or None."""
        future = self._waiting.get(key)
        if future is None:
            future = self._waiting[key] = asyncio.get_running_loop().create_future()
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        # Shielded: a client that goes away must not cancel the answer of another who waits for the same row.
        return await asyncio.shield(future)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, {}
                await self._answer(batch)
        finally:
            self._worker = None

    async def _answer(self, batch: dict[UUID, asyncio.Future[tuple[Any, ...] | None]]) -> None:
        try:
            rows = await asyncio.to_thread(self._fetch, list(batch))
        except Exception as error:
            for future in batch.values():
                future.set_exception(error)
                # Whoever waited may have gone; an exception that nobody collects is not worth a warning.
                future.exception()
            return
        for key, future in batch.items():
            future.set_result(rows.get(key))

    def _fetch(self, keys: list[UUID]) -> dict[UUID, tuple[Any, ...]]:
        if self._connection is not None:
            try:
                return self._ask(self._connection, keys)
            except Exception:
                # The server may have closed the connection since it was last used; whatever it was, a new one tells.
                self._connection.close()
        self._connection = self._connect()
        return self._ask(self._connection, keys)

    def _connect(self) -> psycopg.Connection[Any]:
        fairy = self._engine.raw_connection()
        connection = cast("psycopg.Connection[Any]", fairy.driver_connection)
        fairy.detach()
        connection.autocommit = True
        return connection

    def _ask(self, connection: psycopg.Connection[Any], keys: list[UUID]) -> dict[UUID, tuple[Any, ...]]:
        rows = connection.execute(self._sql, {"keys": keys})
        return {row[-1]: row[:-1] for row in rows}
