"""Whose application is tested, and on which settings: a module's, a factory's, with an engine, in production."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from gqlauth import Settings
from gqlauth.testing.harness import settings_for_test
from tests.testing.support import SHOP, SIGNUP, run


def emails(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as db:
        return [email for (email,) in db.execute("SELECT email FROM users")]


def test_a_developers_application_runs_on_the_settings_of_the_test(host: pytest.Pytester) -> None:
    """Its own database is not even made; what else it was made with, and who listens, stays."""
    done = run(
        host,
        f"""
        import pathlib, pytest, shop

        @pytest.fixture(autouse=True)
        def its_own():
            own = shop.auth.settings, shop.auth.runtime.database
            assert own[0].environment == "development"
            yield
            assert own == (shop.auth.settings, shop.auth.runtime.database)
            assert shop.auth.runtime.settings is own[0] and not pathlib.Path("developer.db").exists()

        @pytest.mark.parametrize("time", [1, 2])
        def test_each_begins_anew(auth_client, auth, auth_settings, outbox, time):
            assert auth is shop.auth
            assert auth_client.execute('{SIGNUP}') == {{"signup": {{"__typename": "AuthPayload"}}}}
            assert shop.welcomed[-1] == outbox[0].user_id
            settings = shop.auth.runtime.settings
            assert settings is shop.auth.settings
            assert (settings.audience, settings.environment, settings.bcrypt_cost) == ("shop", "test", 4)
            assert settings.database_url == auth_settings.database_url
            ada = auth_client.login_as("ada@example.com")
            assert shop.auth.runtime.tokens.verify(ada.token).user_id == ada.user_id
        """,
    )
    done.assert_outcomes(passed=2)


def test_a_hosts_own_engine_stays(host: pytest.Pytester) -> None:
    """And SQLite's file is the one that the engine names, not the one of the settings."""
    engine = 'Settings(), engine=sqlalchemy.create_engine("sqlite:///of-the-engine.db")'
    made = SHOP.replace('Settings(database_url="sqlite:///developer.db", audience="shop")', engine)
    host.makepyfile(shop="import sqlalchemy" + made)
    done = run(host, "def test_it(auth_client): assert auth_client.login_as('ada@example.com').execute('{ roles }')")
    done.assert_outcomes(passed=1)
    assert emails(host.path / "of-the-engine.db") == ["ada@example.com"]


def test_the_sockets_of_a_developers_application_are_on_the_tests_database_too(host: pytest.Pytester) -> None:
    host.makepyfile(shop=SHOP.replace("gqlauth.Mutation)", "gqlauth.Mutation, gqlauth.Subscription)"))
    done = run(
        host,
        """
        SUBSCRIBE = {"id": "1", "type": "subscribe", "payload": {"query": "subscription { sessionEnded { reason } }"}}

        def test_a_logout_ends_its_socket(auth_client):
            ada = auth_client.login_as("ada@example.com")
            with ada.http.websocket_connect("/graphql", subprotocols=["graphql-transport-ws"]) as socket:
                socket.send_json({"type": "connection_init"})
                assert socket.receive_json()["type"] == "connection_ack"
                socket.send_json(SUBSCRIBE)
                ada.logout()
                assert socket.receive_json()["payload"]["data"] == {"sessionEnded": {"reason": "SESSION_REVOKED"}}
        """,
    )
    done.assert_outcomes(passed=1)


def test_the_settings_of_a_test_go_before_the_applications_where_they_say_something() -> None:
    postgres = "postgresql://db.example.com/shop"
    own = Settings(
        database_url=postgres,
        table_schema="auth",
        table_prefix="shop_",
        redis_url="redis://cache.example.com",
        cookies=True,
    )
    test = Settings(environment="test", bcrypt_cost=4, database_url="sqlite:///test.db", rate_limits=False)
    merged = {"table_prefix": "shop_", "cookies": True, "rate_limits": False}
    assert settings_for_test(own, test) == replace(test, **merged)
    test = replace(test, database_url="postgresql://127.0.0.1/test", redis_url="redis://127.0.0.1", cookies=False)
    assert settings_for_test(own, test) == replace(test, **merged, table_schema="auth")


def test_an_application_made_for_tests_is_taken_as_it_is(host: pytest.Pytester) -> None:
    host.makepyfile(
        factory="""
        from starlette.applications import Starlette
        import gqlauth

        def create_app(settings):
            auth = gqlauth.Auth(settings)
            routes = auth.routes(gqlauth.Schema(gqlauth.Query, gqlauth.Mutation), path="/api")
            return Starlette(routes=routes, lifespan=auth.lifespan)
        """
    )
    done = run(
        host,
        """
        import pytest
        from factory import create_app
        from gqlauth import Settings

        @pytest.fixture
        def auth_settings():
            return Settings(environment="test", bcrypt_cost=5, database_url="sqlite:///of-the-host.db")

        @pytest.fixture
        def auth_app(auth_settings):
            return create_app(auth_settings)

        @pytest.fixture
        def auth_path():
            return "/api"

        def test_it(auth_client, auth, auth_settings):
            assert auth.settings is auth_settings
            assert auth_client.login_as("ada@example.com").execute("{ me { email } }")
        """,
    )
    done.assert_outcomes(passed=1)
    assert emails(host.path / "of-the-host.db") == ["ada@example.com"]


def test_production_is_never_touched(host: pytest.Pytester) -> None:
    host.makepyfile(shop=SHOP.replace("Settings(", 'Settings(environment="production", '))
    done = run(
        host,
        """
        import pytest, shop
        from starlette.testclient import TestClient
        from gqlauth import ConfigurationError
        from gqlauth.testing.client import AuthClient

        def test_by_the_fixture(auth_client):
            pass

        def test_by_hand():
            with pytest.raises(ConfigurationError, match="production"):
                AuthClient(TestClient(shop.app), shop.auth).login_as("ada@example.com")
        """,
    )
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(["*ConfigurationError: gqlauth.testing writes accounts, and GQLAUTH_ENVIRONMENT is*"])
    assert not (host.path / "developer.db").exists()


def test_what_the_kit_cannot_know_it_asks_for(host: pytest.Pytester) -> None:
    host.makepyfile(
        other="""
        from starlette.applications import Starlette
        from starlette.middleware.gzip import GZipMiddleware
        from starlette.routing import Mount
        import shop

        without = Starlette()
        inside = GZipMiddleware(Starlette(routes=[Mount("/api", shop.app)], lifespan=shop.auth.lifespan))
        """
    )
    done = run(
        host,
        """
        import pytest, other, shop

        @pytest.fixture(params=["without", "inside"])
        def auth_app(request):
            return getattr(other, request.param)

        def test_auth(auth):
            assert auth is shop.auth

        @pytest.fixture
        def auth_path():
            return "/api/graphql"

        def test_client(auth_client):
            assert auth_client.login_as("ada@example.com").execute("{ me { email } }")
        """,
    )
    done.assert_outcomes(passed=2, errors=2)
    done.stdout.fnmatch_lines(["*LookupError: no gqlauth.Auth has made routes of *: override the fixture `auth`*"])
