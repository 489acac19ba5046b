"""A host's own engine, sync or async: on the same database, and left as it was."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import strawberry
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from starlette.applications import Starlette
from starlette.testclient import TestClient

import gqlauth
from gqlauth import Auth, ConfigurationError, Context, Settings
from gqlauth.database import choose_engine
from tests.hosts.serving import client_of, use_everything
from tests.hosts.shop import Customer, Order, SignupInput, UpdateProfileInput, User, check_invitation
from tests.processes import TIMEOUT, environment
from tests.support import PASSWORD, SIGNUP, Clock, GraphQLClient

SECRET = "kT3#vQ9!mZ7@xL2$wR8%nB5^jH4&pD6*"
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def elsewhere(settings: Settings) -> Settings:
    """Return the settings without the database: the engine alone leads to it."""
    return replace(settings, database_url=Settings().database_url)


def transactions(engine: sa.Engine) -> tuple[Any, ...]:
    """Return how the transactions of the host's connections begin."""
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        return driver.autocommit, driver.isolation_level, connection.scalar(sa.text("SHOW transaction_isolation"))


def pooled(engine: sa.Engine) -> sa.QueuePool:
    assert isinstance(engine.pool, sa.QueuePool)
    return engine.pool


def test_the_api_works_on_the_hosts_engine(settings: Settings, clock: Clock) -> None:
    engine = sa.create_engine(settings.url)
    with client_of(Auth(elsewhere(settings), engine=engine, clock=clock)) as client:
        use_everything(client)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM users")) == 1
    engine.dispose()


@on_postgresql
def test_the_pool_is_shared_and_stays_the_hosts(settings: Settings) -> None:
    engine = sa.create_engine(settings.url)
    pool = pooled(engine)
    auth = Auth(elsewhere(settings), engine=engine)
    with client_of(auth) as client:
        use_everything(client)
        assert auth.runtime.database.engine.pool is pool
    # In the end the host's connections are open, and all are back in its pool.
    assert engine.pool is pool
    assert (pool.checkedout(), pool.checkedin() > 0) == (0, True)
    engine.dispose()


@on_postgresql
@pytest.mark.parametrize("overflow", [0, 1])
def test_a_pool_of_one_connection_is_enough(settings: Settings, overflow: int) -> None:
    engine = sa.create_engine(settings.url, pool_size=1, max_overflow=overflow, pool_timeout=20)
    with client_of(Auth(elsewhere(settings), engine=engine)) as client:
        token = client.signup()["accessToken"]

        def ask(number: int) -> Any:
            return client.login()["__typename"] if number % 2 else client.me(token)["email"]

        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(ask, range(16))) == {"AuthPayload", "ada@example.com"}
    engine.dispose()


@on_postgresql
def test_times_are_in_utc_whatever_the_zone_of_the_hosts_connections(settings: Settings, clock: Clock) -> None:
    engine = sa.create_engine(settings.url)

    @sa.event.listens_for(engine, "connect")
    def set_zone(connection: Any, record: Any) -> None:
        connection.execute("SET TIME ZONE 'Asia/Tokyo'")
        connection.commit()

    with client_of(Auth(elsewhere(settings), engine=engine, clock=clock)) as client:
        payload = client.signup()
        token = payload["accessToken"]
        noon = "2026-01-01T12:00:00+00:00"
        assert payload["user"]["createdAt"] == noon
        for _ in range(2):
            assert client.me(token)["createdAt"] == noon
        [session] = client.sessions(token)
        assert (session["createdAt"], session["lastUsedAt"]) == (noon, noon)
    engine.dispose()


@on_postgresql
@pytest.mark.parametrize("level", ["AUTOCOMMIT", "SERIALIZABLE"])
def test_our_transactions_are_ours_whatever_the_hosts_are(settings: Settings, level: Any) -> None:
    engine = sa.create_engine(settings.url, isolation_level=level, pool_size=1, max_overflow=0)
    before = transactions(engine)
    auth = Auth(elsewhere(settings), engine=engine)
    with client_of(auth) as client:
        token = client.signup()["accessToken"]

        def rename(number: int) -> str:
            document = "mutation($i: UpdateProfileInput!) { updateProfile(input: $i) { __typename } }"
            answer = client.execute(document, {"i": {"name": f"Ada {number}"}}, token)
            return str(answer["updateProfile"]["__typename"])

        # They wait for one another; in SERIALIZABLE, all but one would fail.
        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(rename, range(24))) == {"User"}
        # What fails half-way leaves nothing; in AUTOCOMMIT, the first half would stay.
        with pytest.raises(ZeroDivisionError), auth.runtime.database.transaction() as db:
            db.execute(sa.text("UPDATE users SET name = 'half'"))
            raise ZeroDivisionError
        assert client.me(token)["name"].startswith("Ada")
    assert transactions(engine) == before
    engine.dispose()


@on_postgresql
def test_an_error_on_the_hosts_engine_tells_nothing_private(settings: Settings) -> None:
    """ASVS 16.2.5: what a statement was given is not logged."""
    engine = sa.create_engine(settings.url)
    auth = Auth(elsewhere(settings), engine=engine)
    with pytest.raises(sa.exc.DBAPIError) as caught, auth.runtime.database.read() as db:
        db.execute(sa.text("SELECT :secret FROM nowhere"), {"secret": SECRET})
    assert SECRET not in str(caught.value)
    assert not engine.hide_parameters
    engine.dispose()


@strawberry.type
class Mutation(gqlauth.Mutation):
    """A host that writes with its own async session."""

    @strawberry.mutation(permission_classes=[gqlauth.IsAuthenticated])
    async def place_order(self, info: strawberry.Info[Context[Customer], None]) -> str:
        host: AsyncEngine = info.context.request.app.state.engine
        async with AsyncSession(host) as db, db.begin():
            customer = await db.get_one(Customer, info.context.viewer.user_id)
            customer.points = Customer.points + 1
            order = Order()
            db.add(order)
            await db.flush()
            return str(order.id)


@pytest.mark.parametrize(
    ("database_url", "driver"),
    [("sqlite", "aiosqlite"), ("postgresql", "asyncpg"), ("postgresql", "psycopg_async")],
    indirect=["database_url"],
)
def test_an_async_host_keeps_its_engine(settings: Settings, driver: str) -> None:
    engine = create_async_engine(settings.url.set(drivername=f"{settings.url.get_backend_name()}+{driver}"))
    auth = Auth(elsewhere(settings), user=Customer, engine=engine, before_signup=check_invitation)
    auth.create_tables()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with auth.lifespan(app):
            yield
        await engine.dispose()

    schema = gqlauth.Schema(gqlauth.Query, Mutation, types=[User, SignupInput, UpdateProfileInput])
    app = Starlette(routes=auth.routes(schema), lifespan=lifespan)
    app.state.engine = engine
    with TestClient(app) as http:
        client = GraphQLClient(http)
        extra = {"company": "Engines", "invitation": "friend"}
        account = {"email": "ada@example.com", "password": PASSWORD, **extra}
        token = client.execute(SIGNUP, {"input": account})["signup"]["accessToken"]
        # Signing in and ordering at once: each writes to the database by its own engine.
        with ThreadPoolExecutor(4) as threads:
            logins = [threads.submit(client.login) for _ in range(8)]
            orders = [threads.submit(client.execute, "mutation { placeOrder }", None, token) for _ in range(8)]
        assert {login.result()["__typename"] for login in logins} == {"AuthPayload"}
        assert {order.result()["placeOrder"] for order in orders} == set("12345678")
        assert client.execute("{ me { points } }", token=token) == {"me": {"points": 108}}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite://", "the engine's SQLite database is in memory, where gqlauth cannot reach it: use a file"),
        ("sqlite+aiosqlite://", "the engine's SQLite database is in memory"),
        ("sqlite+aiosqlite:///file:x?uri=true", "the engine's SQLite database is in memory"),
        ("mysql+pymysql://host/shop", "gqlauth works on SQLite and PostgreSQL, not on mysql"),
        ("postgresql+asyncpg://host/shop?ssl=require&timeout=5", "psycopg knows no ssl, timeout of the engine's URL: "),
    ],
)
def test_an_engine_whose_database_we_cannot_use_is_refused_in_one_line(url: str, message: str) -> None:
    # The driver of MySQL need not be installed for this.
    sync: dict[str, Any] = {"module": sqlite3} if "mysql" in url else {}
    engine = create_async_engine(url) if "+a" in url else sa.create_engine(url, **sync)
    with pytest.raises(ConfigurationError) as caught:
        Auth(engine=engine)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"settings": "postgresql://ada:pw@host/shop"}, {"engine": "sqlite:///shop.db"}])
def test_a_url_in_the_wrong_place_is_told_the_right_one(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Settings\(database_url=\.\.\.\)$") as caught:
        Auth(**wrong)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("postgresql+asyncpg://ada:pw@host:1/shop", "postgresql+psycopg://ada:pw@host:1/shop"),
        ("postgresql+asyncpg://ada@/shop?host=/run", "postgresql+psycopg://ada@/shop?host=%2Frun"),
        ("postgresql+psycopg_async://host/shop?sslmode=require", "postgresql+psycopg://host/shop?sslmode=require"),
        ("sqlite+aiosqlite:///shop.db", "sqlite:///shop.db"),
    ],
)
def test_ours_beside_an_async_engine_is_on_the_very_same_database(url: str, ours: str) -> None:
    engine, is_ours = choose_engine(create_async_engine(url))
    assert (engine.url.render_as_string(hide_password=False), is_ours) == (ours, True)


def test_a_schema_may_come_with_an_engine_alone(tmp_path: Path) -> None:
    engine = sa.create_engine("postgresql+psycopg://127.0.0.1/shop")
    assert Auth(Settings(table_schema="accounts"), engine=engine).metadata.tables.keys() >= {"accounts.users"}
    with pytest.raises(ConfigurationError, match=r"^SQLite has no schemas"):
        Auth(Settings(table_schema="accounts"), engine=sa.create_engine(f"sqlite:///{tmp_path}/x.db"))


def test_production_on_the_hosts_postgresql_wants_its_keys_encrypted(tmp_path: Path) -> None:
    """The engine counts, not the URL, which is SQLite's while nobody sets it."""
    production = Settings(environment="production")
    engine = sa.create_engine("postgresql+psycopg://127.0.0.1/shop")
    with pytest.raises(ConfigurationError, match=r"^GQLAUTH_KEY_ENCRYPTION_KEY must be set in production"):
        Auth(production, engine=engine)
    Auth(replace(production, key_encryption_key=SECRET), engine=engine)
    Auth(production, engine=sa.create_engine(f"sqlite:///{tmp_path}/x.db"))


def test_postgresql_without_its_driver_is_one_line(tmp_path: Path) -> None:
    code = "import sys; sys.modules['psycopg'] = None; from gqlauth.cli import main; main()"
    variables = environment(database_url="postgresql://127.0.0.1/shop")
    command = [sys.executable, "-c", code, "users", "list"]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=TIMEOUT)
    assert (done.returncode, done.stderr) == (1, 'gqlauth: PostgreSQL needs psycopg: pip install "gqlauth[postgres]"\n')
