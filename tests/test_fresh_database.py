"""An empty database is made whole at once: the same as migrated step by step, and without Alembic."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from gqlauth import Auth, Settings, migrations
from gqlauth.database import Database
from gqlauth.events import Events
from gqlauth.models import create_models
from tests.support import GraphQLClient
from tests.tables import METADATA

TABLES = METADATA.tables
WITHOUT_ALEMBIC = """
import sys
from gqlauth import server, settings
import gqlauth.cli
server.prepare(settings.Settings.from_environ())
sys.exit("alembic" in sys.modules)
"""


def create(database: Database) -> None:
    assert migrations.upgrade(database)


def migrate(database: Database) -> None:
    with database.engine.begin() as connection:
        command.upgrade(migrations.config(connection, database), "head")


def foreign_to(database: Database) -> Any:
    """Return an `include_name` that sees the schema of our tables alone."""
    return lambda name, kind, parents: kind != "schema" or name == database.models.schema


# The longest prefix makes names of constraints that PostgreSQL has no room for.
PLACES = {"plain": ("", None), "prefix": ("p" * 24, None), "schema": ("web_", "accounts")}


@pytest.fixture(params=PLACES)
def database(request: pytest.FixtureRequest, settings: Settings) -> Any:
    prefix, schema = PLACES[request.param]
    if settings.url.get_backend_name() == "sqlite":
        schema = None
    database = Database(settings.url, Events(), create_models(None, prefix, schema))
    yield database
    database.dispose()


def described(connection: sa.Connection, schema: str | None) -> dict[str, list[str]]:
    """Return all that the database says of its tables."""
    inspector = sa.inspect(connection)
    return {
        name: [
            *map(told, inspector.get_columns(name, schema)),
            told(inspector.get_pk_constraint(name, schema)),
            *sorted(map(told, inspector.get_indexes(name, schema))),
            *sorted(map(told, inspector.get_unique_constraints(name, schema))),
            *sorted(map(told, inspector.get_foreign_keys(name, schema))),
        ]
        for name in inspector.get_table_names(schema)
    }


def told(part: Any) -> str:
    return json.dumps(part, sort_keys=True, default=str)


@pytest.mark.parametrize("make", [create, migrate])
def test_the_models_find_nothing_to_change(database: Database, make: Any) -> None:
    make(database)
    with database.engine.connect() as connection:
        options = {"compare_type": True, "include_schemas": True, "include_name": foreign_to(database)}
        context = MigrationContext.configure(connection, opts=options)
        found = compare_metadata(context, database.models.metadata)
        # The table that notes the revision is in no metadata.
        assert [(name, *rest) for name, *rest in found if name != "remove_table"] == []
    assert migrations.current(database) == migrations.HEAD
    assert not migrations.upgrade(database)


def test_created_is_the_same_as_migrated(database: Database) -> None:
    create(database)
    with database.engine.begin() as connection:
        created = described(connection, database.models.schema)
        command.downgrade(migrations.config(connection, database), "base")
        assert set(described(connection, database.models.schema)) == {migrations.version_table(database)}
        command.upgrade(migrations.config(connection, database), "head")
        assert described(connection, database.models.schema) == created
        assert set(created) == {migrations.version_table(database), *(table.name for table in database.models.tables)}


def test_a_host_s_tables_beside_ours_are_left_alone(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    create(database)
    with database.engine.connect() as connection:
        assert "orders" in sa.inspect(connection).get_table_names()
    assert migrations.current(database) == migrations.HEAD


def test_servers_that_start_at_once_create_once(settings: Settings) -> None:
    def start(_: int) -> bool:
        database = Database(settings.url, Events())
        try:
            return migrations.upgrade(database)
        finally:
            database.dispose()

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(start, range(8))) == 1


def test_starting_does_not_import_alembic(database_url: str) -> None:
    environment = {**os.environ, "GQLAUTH_DATABASE_URL": database_url}
    for _ in ("an empty database", "an existing one"):
        subprocess.run([sys.executable, "-c", WITHOUT_ALEMBIC], env=environment, check=True)


def test_a_new_database_holds_no_account(auth: Auth, client: GraphQLClient) -> None:
    """ASVS 6.3.2: no default accounts. Of all tables only that of the keys has a row."""
    with auth.runtime.database.read() as db:
        rows = {name: db.scalar(sa.select(sa.func.count()).select_from(table)) for name, table in TABLES.items()}
    assert {name for name, count in rows.items() if count} == {"signing_keys"}
    assert {"users", "sessions"} <= set(rows)
