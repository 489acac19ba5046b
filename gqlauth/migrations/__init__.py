"""The schema of the database, step by step, by Alembic.

Alembic is imported only where there is something to do: it would take a third of the server's start.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from gqlauth.database import Database

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0001"
# Not Alembic's default name: a host keeps a history of its own in the same database.
VERSION_TABLE = "gqlauth_alembic_version"


def current(database: Database) -> str | None:
    """Return the revision that the database is at; None if it has no tables of ours."""
    with database.engine.connect() as connection:
        if not sa.inspect(connection).has_table(VERSION_TABLE):
            return None
        column = sa.column("version_num", sa.String)
        return connection.scalar(sa.select(column).select_from(sa.table(VERSION_TABLE)))


def upgrade(database: Database) -> bool:
    """Bring the database to the newest revision; tell whether there was something to do."""
    if current(database) == HEAD:
        return False
    from alembic import command

    with database.engine.begin() as connection:
        if not database.is_sqlite:
            # Two servers that start at once: the second waits, and finds nothing left to do.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(VERSION_TABLE))))
        command.upgrade(config(connection), "head")
    return True


def config(connection: sa.Connection) -> Config:
    """Return Alembic's configuration over an open connection, without an ini file."""
    from alembic.config import Config

    configuration = Config(attributes={"connection": connection})
    configuration.set_main_option("script_location", str(Path(__file__).parent))
    return configuration
