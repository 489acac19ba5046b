"""Where the tables are: named with a prefix, in a schema of PostgreSQL, side by side with others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace as changed
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import gqlauth
from gqlauth import Auth, ConfigurationError, Settings
from gqlauth.models import create_models
from gqlauth.users.service import grant
from tests.hosts.serving import client_of, use_everything
from tests.support import Clock

OURS = ("users", "grants", "sessions", "signing_keys", "gqlauth_alembic_version")


@pytest.fixture
def engine(settings: Settings) -> Iterator[sa.Engine]:
    """Looks into the database from outside."""
    engine = sa.create_engine(settings.url)
    yield engine
    engine.dispose()


def tables(engine: sa.Engine, schema: str | None = None) -> set[str]:
    return set(sa.inspect(engine).get_table_names(schema=schema))


def test_two_servers_live_in_one_database_by_their_prefixes(
    settings: Settings, clock: Clock, engine: sa.Engine
) -> None:
    blue, green = (Auth(changed(settings, table_prefix=prefix), clock=clock) for prefix in ("blue_", "green_"))
    with client_of(blue) as one, client_of(green) as other:
        ada, eve = use_everything(one), use_everything(other)
        assert ada["id"] != eve["id"]
        token = one.login()["accessToken"]
        assert other.refused("{ me { id } }", token=token)["reason"] == "TOKEN_INVALID"
        assert grant(blue.runtime, "ada@example.com", "role", "admin")
    assert tables(engine) == {prefix + name for prefix in ("blue_", "green_") for name in OURS}


def test_an_account_that_is_deleted_takes_its_prefixed_rows_along(settings: Settings, engine: sa.Engine) -> None:
    auth = Auth(changed(settings, table_prefix="shop_"))
    with client_of(auth) as client:
        token = client.signup()["accessToken"]
        assert grant(auth.runtime, "ada@example.com", "role", "admin")
        document = 'mutation { deleteAccount(password: "correct horse battery") { __typename } }'
        assert client.execute(document, token=token) == {"deleteAccount": {"__typename": "AccountDeleted"}}
    with engine.connect() as connection:
        for name in ("shop_users", "shop_grants", "shop_sessions"):
            assert connection.scalar(sa.select(sa.func.count()).select_from(sa.table(name))) == 0


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_schema_is_made_and_holds_all_that_is_ours(settings: Settings, engine: sa.Engine) -> None:
    own = changed(settings, table_prefix="web_", table_schema="accounts")
    with client_of(Auth(own)) as client:
        use_everything(client)
    assert tables(engine) == set()
    assert tables(engine, "accounts") == {f"web_{name}" for name in OURS}
    # The second start finds what the first has made.
    with client_of(Auth(own)) as client:
        assert client.login()["__typename"] == "AuthPayload"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_schema_that_is_there_wants_no_right_to_make_one(settings: Settings, engine: sa.Engine) -> None:
    with engine.begin() as connection:
        name = f"clerk_{engine.url.database}"
        connection.execute(sa.text(f"CREATE ROLE {name} LOGIN"))
        connection.execute(sa.text(f"CREATE SCHEMA accounts AUTHORIZATION {name}"))
    url = settings.url.set(username=name).render_as_string(hide_password=False)
    with client_of(Auth(changed(settings, database_url=url, table_schema="accounts"))) as client:
        use_everything(client)
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP OWNED BY {name}"))
        connection.execute(sa.text(f"DROP ROLE {name}"))


def test_sqlite_has_no_schemas(tmp_path: Any) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/x.db", table_schema="accounts")
    with pytest.raises(ConfigurationError, match=r"^SQLite has no schemas: GQLAUTH_TABLE_SCHEMA is for PostgreSQL$"):
        Auth(settings)


def new_customers(schema: str | None = None, other_table: str = "orders") -> Any:
    """Return a host's class for users in metadata of its own, beside one other table."""

    class Base(DeclarativeBase):
        metadata = sa.MetaData(schema=schema)

    class Other(Base):
        __tablename__ = other_table
        id: Mapped[int] = mapped_column(primary_key=True)

    class Customer(gqlauth.UserColumns, Base):
        __tablename__ = "customers"

    return Customer


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_our_tables_are_in_the_schema_of_the_hosts(settings: Settings, engine: sa.Engine) -> None:
    auth = Auth(settings, user=new_customers("shop"))
    auth.create_tables()
    with client_of(auth) as client:
        use_everything(client)
    assert tables(engine, "shop") == {"orders", "customers", "grants", "sessions", "signing_keys"}
    assert tables(engine) == set()


def test_a_schema_beside_the_hosts_own_is_refused() -> None:
    settings = Settings(database_url="postgresql://127.0.0.1/shop", table_schema="accounts")
    with pytest.raises(ConfigurationError, match=r"^GQLAUTH_TABLE_SCHEMA is accounts, but shop\.customers is your own"):
        Auth(settings, user=new_customers("shop"))


def test_a_table_that_the_host_has_already_is_told_with_the_way_out() -> None:
    customer = new_customers(other_table="sessions")
    with pytest.raises(ConfigurationError, match=r"has a table sessions already.*: set GQLAUTH_TABLE_PREFIX$"):
        Auth(Settings(), user=customer)
    assert [table.name for table in create_models(customer, "auth_").tables][2] == "auth_sessions"


def test_the_classes_are_mapped_once_for_each_place() -> None:
    assert create_models(None, "x_") is create_models(None, "x_")
    assert create_models(None, "x_") is not create_models(None, "y_")


@pytest.mark.parametrize("name", ["Shop_", "shop-", "1_", "_", "x" * 25, "a b", 'a"b', "sqlite_x", "shop_\n"])
def test_a_prefix_that_is_no_plain_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^GQLAUTH_TABLE_PREFIX: "):
        Settings(table_prefix=name)


@pytest.mark.parametrize("name", ["", "Shop", "shop.x", "pg_x", "x" * 64, 'a"b', "shop\n"])
def test_a_schema_that_is_no_plain_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^GQLAUTH_TABLE_SCHEMA: "):
        Settings(table_schema=name)
