"""The schema of the database: made whole where there is none, and brought on step by step, by Alembic, where there is.

Alembic is imported only for a step: it would take a third of the server's start and a tenth of its memory. Where the
class for users is a host's, so are the migrations, and here is only looked whether they have been run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from gqlauth.columns import UTCDateTime
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
        return _current(connection, database)


def state(database: Database) -> str | None:
    """Return what the database lacks and what to do about it, in one line; None if it has all that is needed."""
    if database.models.host_migrates:
        lacking = ", ".join(_lacking(database))
        return f"the database lacks {lacking}; run the migrations of your application" if lacking else None
    revision = current(database)
    return None if revision == HEAD else f"at {revision or 'none'}, not {HEAD}; run: gqlauth db upgrade"


def upgrade(database: Database) -> bool:
    """Bring the database to the newest revision; tell whether there was something to do.

    Raises `ConfigurationError` if a newer gqlauth has been at it, or if the migrations are a host's and not all run.
    """
    if database.models.host_migrates:
        if (lacking := state(database)) is not None:
            raise ConfigurationError(lacking)
        return False
    if current(database) == HEAD:
        return False
    # On SQLite the transaction begins with the write lock. Two servers that start at once: the second waits, and finds
    # nothing left to do.
    with database.engine.begin() as connection:
        if not database.is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(VERSION_TABLE))))
        if _current(connection, database) == HEAD:
            return False
        if _is_empty(connection, database):
            _create(connection, database)
        else:
            _migrate(connection, database)
    return True


def create_tables(database: Database) -> None:
    """Make the schemas and tables that are not there yet, ours and a host's, without any migration."""
    metadata = database.models.metadata
    with database.engine.begin() as connection:
        for schema in {table.schema for table in metadata.tables.values()}:
            ensure_schema(connection, schema)
        metadata.create_all(connection)


def ensure_schema(connection: sa.Connection, schema: str | None) -> None:
    """Make a schema of PostgreSQL, if one is named and it is not there. To make one takes a right of its own."""
    if schema is not None and not sa.inspect(connection).has_schema(schema):
        connection.execute(sa.schema.CreateSchema(schema))


def is_ours(database: Database, name: str | None, kind: str, schema: str | None) -> bool:
    """Tell whether what Alembic has found in the database is a table that is migrated here, and not by the host."""
    models = database.models
    if models.host_migrates or kind != "table" or schema != models.schema:
        return False
    return name == version_table(database) or name in {table.name for table in models.tables}


def version_table(database: Database) -> str:
    """Return the name of the table that notes the revision."""
    return database.models.prefix + VERSION_TABLE


def _lacking(database: Database) -> list[str]:
    """Return the tables and columns of a host's models that the database does not have."""
    inspector, lacking = sa.inspect(database.engine), []
    for table in database.models.tables:
        if not inspector.has_table(table.name, schema=table.schema):
            lacking.append(table.fullname)
            continue
        there = {column["name"] for column in inspector.get_columns(table.name, schema=table.schema)}
        lacking += [f"{table.fullname}.{column.name}" for column in table.columns if column.name not in there]
    return lacking


def _current(connection: sa.Connection, database: Database) -> str | None:
    name, schema = version_table(database), database.models.schema
    if not sa.inspect(connection).has_table(name, schema=schema):
        return None
    column = sa.column("version_num", sa.String)
    return connection.scalar(sa.select(column).select_from(sa.table(name, schema=schema)))


def _is_empty(connection: sa.Connection, database: Database) -> bool:
    """Tell whether nothing of ours is there; a host's tables may be."""
    inspector, models = sa.inspect(connection), database.models
    there = inspector.get_table_names(schema=models.schema)
    return not any(is_ours(database, name, "table", models.schema) for name in there)


def _create(connection: sa.Connection, database: Database) -> None:
    """Make the tables as the models say, and note the newest revision as Alembic would."""
    name, models = version_table(database), database.models
    ensure_schema(connection, models.schema)
    models.metadata.create_all(connection, models.tables, checkfirst=False)
    version = sa.Table(
        name,
        sa.MetaData(schema=models.schema),
        sa.Column("version_num", sa.String(32)),
        sa.PrimaryKeyConstraint("version_num", name=f"{name}_pkc"),
    )
    version.create(connection)
    connection.execute(version.insert().values(version_num=HEAD))


def _migrate(connection: sa.Connection, database: Database) -> None:
    from alembic import command
    from alembic.util import CommandError

    try:
        command.upgrade(config(connection, database), "head")
    except CommandError:
        found = _current(connection, database)
        raise ConfigurationError(f"the database is at revision {found}, which this gqlauth does not know") from None


def config(connection: sa.Connection, database: Database) -> Config:
    """Return Alembic's configuration over an open connection, without an ini file."""
    from alembic.config import Config

    configuration = Config(attributes={"connection": connection, "database": database})
    configuration.set_main_option("script_location", str(Path(__file__).parent))
    return configuration


def render_item(kind: str, item: Any, context: Any) -> str | bool:
    """Write our column type into a host's migrations as SQLAlchemy's own: for `render_item` in the host's `env.py`."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UTCDateTime) else False
