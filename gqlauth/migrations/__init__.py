"""The schema of the database, step by step, by Alembic.

Alembic is imported only where there is something to do: it would take a third of the server's start.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from gqlauth.database import Database
from gqlauth.errors import ConfigurationError

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0001"
# Not Alembic's default name: a host keeps a history of its own in the same database.
VERSION_TABLE = "gqlauth_alembic_version"


def current(database: Database) -> str | None:
    """Return the revision that the database is at; None if it has no tables of ours."""
    with database.engine.connect() as connection:
        return _revision(connection)


def upgrade(database: Database) -> bool:
    """Bring the database to the newest revision; tell whether there was something to do.

    Raises `ConfigurationError` if a newer gqlauth has been at it.
    """
    if current(database) == HEAD:
        return False
    from alembic import command
    from alembic.util import CommandError

    with database.engine.begin() as connection:
        if not database.is_sqlite:
            # Two servers that start at once: the second waits, and finds nothing left to do.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(VERSION_TABLE))))
        found = _revision(connection)
        if found == HEAD:
            return False
        try:
            command.upgrade(config(connection), "head")
        except CommandError:
            raise ConfigurationError(f"the database is at revision {found}, which this gqlauth does not know") from None
    return True


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    column = sa.column("version_num", sa.String)
    return connection.scalar(sa.select(column).select_from(sa.table(VERSION_TABLE)))


def config(connection: sa.Connection) -> Config:
    """Return Alembic's configuration over an open connection, without an ini file."""
    from alembic.config import Config

    configuration = Config(attributes={"connection": connection})
    configuration.set_main_option("script_location", str(Path(__file__).parent))
    return configuration
