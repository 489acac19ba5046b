"""The schema of the database: every path to it leads to what the models say."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from gqlauth import ConfigurationError, Settings, migrations
from gqlauth.database import Database
from gqlauth.events import Events
from gqlauth.migrations import HEAD, VERSION_TABLE
from tests.tables import METADATA


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.url, Events())
    yield database
    database.dispose()


def tables(database: Database) -> set[str]:
    with database.engine.connect() as connection:
        return set(sa.inspect(connection).get_table_names())


def test_the_newest_revision_is_what_the_models_say(database: Database) -> None:
    assert migrations.upgrade(database)
    with database.engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True, "version_table": VERSION_TABLE}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, METADATA) == []


def test_the_head_that_the_code_names_is_alembics(database: Database) -> None:
    with database.engine.connect() as connection:
        assert ScriptDirectory.from_config(migrations.config(connection, database)).get_heads() == [HEAD]


def test_an_upgrade_tells_whether_there_was_something_to_do(database: Database) -> None:
    assert migrations.current(database) is None
    assert migrations.upgrade(database) is True
    assert migrations.current(database) == HEAD
    assert migrations.upgrade(database) is False


def test_upgrades_at_once_end_as_one(settings: Settings) -> None:
    """Several servers that start at the same moment."""
    databases = [Database(settings.url, Events()) for _ in range(4)]
    begin = Barrier(len(databases))

    def upgrade(database: Database) -> bool:
        begin.wait()
        return migrations.upgrade(database)

    with ThreadPoolExecutor(len(databases)) as threads:
        changed = list(threads.map(upgrade, databases))
    assert sorted(changed) == [False, False, False, True]
    assert {migrations.current(database) for database in databases} == {HEAD}
    for database in databases:
        database.dispose()


def test_the_way_down_leaves_nothing_and_the_way_up_works_again(database: Database) -> None:
    migrations.upgrade(database)
    with database.engine.begin() as connection:
        command.downgrade(migrations.config(connection, database), "base")
    assert tables(database) == {VERSION_TABLE}
    assert migrations.upgrade(database)
    assert tables(database) == {VERSION_TABLE, *METADATA.tables}


def test_a_hosts_own_history_is_left_alone(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('of the host')"))
    migrations.upgrade(database)
    with database.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == "of the host"


def test_a_revision_of_the_future_is_refused_in_one_line(database: Database) -> None:
    migrations.upgrade(database)
    with database.engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = 'future'"))  # noqa: S608 -- a constant
    with pytest.raises(ConfigurationError, match="revision future, which this gqlauth does not know"):
        migrations.upgrade(database)


def test_an_upgrade_that_fails_leaves_the_database_as_it_was(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE sessions (id INTEGER)"))
    with pytest.raises(sa.exc.DBAPIError):
        migrations.upgrade(database)
    assert tables(database) == {"sessions"}
