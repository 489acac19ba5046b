"""The schema of the database: made whole where there is none, and brought on step by step, by Alembic, where there is.

Alembic is imported only for a step: it would take a third of the server's start and a tenth of its memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from gqlauth.database import Base, Database
from gqlauth.errors import ConfigurationError
from gqlauth.keys.models import Key
from gqlauth.sessions.models import Session
from gqlauth.users.models import User

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0001"
# Not Alembic's default name: a host keeps a history of its own in the same database.
VERSION_TABLE = "gqlauth_alembic_version"
# A host's own tables may be in the same metadata; they are the host's to create.
TABLES = [Base.metadata.tables[model.__tablename__] for model in (User, Session, Key)]


def current(database: Database) -> str | None:
    """Return the revision that the database is at; None if it has no tables of ours."""
    with database.engine.connect() as connection:
        return _current(connection)


def upgrade(database: Database) -> bool:
    """Bring the database to the newest revision; tell whether there was something to do.

    Raises `ConfigurationError` if a newer gqlauth has been at it.
    """
    if current(database) == HEAD:
        return False
    # On SQLite the transaction begins with the write lock. Two servers that start at once: the second waits, and finds
    # nothing left to do.
    with database.engine.begin() as connection:
        if not database.is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(VERSION_TABLE))))
        if _current(connection) == HEAD:
            return False
        if _is_empty(connection):
            _create(connection)
        else:
            _migrate(connection)
    return True


def _current(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    column = sa.column("version_num", sa.String)
    return connection.scalar(sa.select(column).select_from(sa.table(VERSION_TABLE)))


def _is_empty(connection: sa.Connection) -> bool:
    """Tell whether nothing of ours is there; a host's tables may be."""
    inspector = sa.inspect(connection)
    return not any(inspector.has_table(name) for name in (VERSION_TABLE, *(table.name for table in TABLES)))


def _create(connection: sa.Connection) -> None:
    """Make the tables as the models say, and note the newest revision as Alembic would."""
    Base.metadata.create_all(connection, TABLES, checkfirst=False)
    version = sa.Table(
        VERSION_TABLE,
        sa.MetaData(),
        sa.Column("version_num", sa.String(32)),
        sa.PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
    )
    version.create(connection)
    connection.execute(version.insert().values(version_num=HEAD))


def _migrate(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.util import CommandError

    try:
        command.upgrade(config(connection), "head")
    except CommandError:
        found = _current(connection)
        raise ConfigurationError(f"the database is at revision {found}, which this gqlauth does not know") from None


def config(connection: sa.Connection) -> Config:
    """Return Alembic's configuration over an open connection, without an ini file."""
    from alembic.config import Config

    configuration = Config(attributes={"connection": connection})
    configuration.set_main_option("script_location", str(Path(__file__).parent))
    return configuration
