"""What a host's tests can do: sign in as anybody, move the time, look at what happened."""

from __future__ import annotations

import pytest

from tests.testing.support import LOGIN, SIGNUP, run


def test_a_client_is_whoever_signed_in_with_it(host: pytest.Pytester) -> None:
    done = run(
        host,
        f"""
        import shop
        from gqlauth.testing.client import AuthClient

        WHO = "{{ me {{ email }} roles scopes }}"

        def test_two_at_once(auth_client: AuthClient):
            ada = auth_client.login_as("ada@example.com", roles=["admin"], scopes=["orders:read", "orders:write"])
            bob = auth_client.login_as("bob@example.com", verified=False)
            assert ada.execute(WHO) == {{
                "me": {{"email": "ada@example.com"}},
                "roles": ["admin"],
                "scopes": ["orders:read", "orders:write"],
            }}
            assert bob.execute(WHO) == {{"me": {{"email": "bob@example.com"}}, "roles": [], "scopes": []}}
            assert bob.execute("{{ me {{ id emailVerified }} }}")["me"] == {{
                "id": str(bob.user_id), "emailVerified": False
            }}
            assert (ada.email, bob.email) == ("ada@example.com", "bob@example.com")
            refusal = {{"code": "UNAUTHENTICATED", "reason": "TOKEN_MISSING"}}
            assert auth_client.refused(WHO) == ada.anonymous().refused(WHO) == refusal
            assert auth_client.execute("{{ me {{ email }} }}", token=bob.token)["me"]["email"] == "bob@example.com"

        def test_again_with_other_roles(auth_client):
            first = auth_client.login_as("ada@example.com", roles=["admin", "clerk"], scopes=["orders:read"])
            again = auth_client.login_as("Ada@Example.com", roles=["clerk", "auditor"])
            assert again.user_id == first.user_id and again.token != first.token
            assert first.execute("{{ roles scopes }}") == {{"roles": ["auditor", "clerk"], "scopes": ["orders:read"]}}
            assert auth_client.login_as("ada@example.com", roles=[]).execute("{{ roles }}") == {{"roles": []}}
            with shop.auth.runtime.database.read() as db:
                user = db.get(shop.auth.runtime.models.User, first.user_id)
            assert auth_client.login_as(user, verified=False, name="Countess").user_id == first.user_id
            assert first.execute("{{ me {{ name emailVerified }} }}")["me"] == {{
                "name": "Countess", "emailVerified": False
            }}

        def test_logout(auth_client):
            ada, elsewhere = auth_client.login_as("ada@example.com"), auth_client.login_as("ada@example.com")
            ada.logout()
            assert ada.refused(WHO)["reason"] == "SESSION_REVOKED"
            assert elsewhere.execute("{{ roles }}")

        def test_plain_http(auth_client):
            ada, bob = auth_client.login_as("ada@example.com"), auth_client.login_as("bob@example.com")
            assert ada.http.get("/visit").json() == {{"visits": 0, "token": True}}
            assert ada.http.get("/visit").json() == {{"visits": 1, "token": True}}
            assert bob.http.get("/visit").json() == {{"visits": 0, "token": True}}
            assert auth_client.http.get("/visit").json() == {{"visits": 0, "token": False}}

        def test_no_password_opens_it(auth_client):
            auth_client.login_as("ada@example.com")
            for password in ("!", "", "ada@example.com"):
                answer = auth_client.execute('{LOGIN}' % password)
                assert answer == {{"login": {{"code": "INVALID_CREDENTIALS"}}}}

        def test_as_many_as_are_needed(auth_client):
            assert len({{auth_client.login_as(f"user{{n}}@example.com").user_id for n in range(70)}}) == 70
        """,
    )
    done.assert_outcomes(passed=6)


def test_a_forgotten_guard_shows(host: pytest.Pytester) -> None:
    done = run(
        host,
        """
        def test_orders_are_guarded(auth_client):
            assert auth_client.refused("{ roles }")["code"] == "UNAUTHENTICATED"

        def test_invoices_are_guarded(auth_client):
            assert auth_client.refused("{ invoices }")["code"] == "UNAUTHENTICATED"

        def test_errors_are_shown(auth_client):
            auth_client.execute("{ roles }")

        def test_another_path(auth_client):
            auth_client.path = "/graph"
            auth_client.execute("{ roles }")
        """,
    )
    done.assert_outcomes(passed=1, failed=3)
    done.stdout.fnmatch_lines(
        [
            "*AssertionError: this was not refused with one error: {",
            '*"everybody\'s"',
            "*AssertionError: the answer has errors: {",
            '*"reason": "TOKEN_MISSING"',
            "*AssertionError: http://testserver/graph did not answer with GraphQL but 404: Not Found",
        ]
    )
    # The failure is shown where the host's test calls.
    done.stdout.no_fnmatch_line("*gqlauth/testing/client.py*")


def test_time_stands_still_until_it_is_moved(host: pytest.Pytester) -> None:
    done = run(
        host,
        """
        import pytest
        from gqlauth.clock import utc_now
        from gqlauth.testing import NOON

        @pytest.fixture
        def ada(auth_client):
            return auth_client.login_as("ada@example.com")

        def test_a_token_expires(ada, frozen_clock):  # the clock comes last, and holds already
            frozen_clock.advance(899)
            assert ada.execute("{ me { createdAt } }") == {"me": {"createdAt": "2026-01-01T12:00:00+00:00"}}
            frozen_clock.advance(1)
            assert ada.refused("{ me { email } }") == {"code": "UNAUTHENTICATED", "reason": "TOKEN_EXPIRED"}
            assert utc_now() == frozen_clock.now

        def test_otherwise_it_runs(ada):
            assert utc_now() != NOON
            assert ada.execute("{ me { email } }")
        """,
    )
    done.assert_outcomes(passed=2)


def test_the_outbox_holds_what_happened_in_the_test(host: pytest.Pytester) -> None:
    done = run(
        host,
        f"""
        import shop
        from gqlauth.events import Event, GrantAdded, LoggedIn, LoginFailed, UserSignedUp

        def test_events(auth_client, outbox):
            ada = auth_client.login_as("ada@example.com", roles=["admin"])
            assert [type(event) for event in outbox] == [UserSignedUp, GrantAdded, LoggedIn]
            outbox.clear()
            auth_client.execute('{SIGNUP}')
            auth_client.execute('{LOGIN}' % "wrong horse battery")
            assert [event.user_id for event in outbox.of(LoginFailed)] == [ada.user_id]
            assert [type(event) for event in outbox.of(Event)] == [UserSignedUp, LoggedIn, LoginFailed]
            global kept
            kept = outbox

        def test_the_next_one_has_its_own(auth_client, outbox):
            assert outbox == []
            auth_client.login_as("bob@example.com")
            assert len(outbox) == 2 and len(kept) == 3
        """,
    )
    done.assert_outcomes(passed=2)


def test_a_hosts_own_class_for_users_gets_its_columns(host: pytest.Pytester) -> None:
    host.makepyfile(
        customers="""
        from sqlalchemy import String
        from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
        from starlette.applications import Starlette
        import strawberry
        import gqlauth

        class Base(DeclarativeBase):
            pass

        class Customer(gqlauth.UserColumns, Base):
            __tablename__ = "customers"
            company: Mapped[str] = mapped_column(String(20))
            points: Mapped[int] = mapped_column(default=7)

        @strawberry.type
        class User(gqlauth.User):
            company: str
            points: int

        def refuse(signup):
            raise gqlauth.InvalidInput("closed")

        auth = gqlauth.Auth(gqlauth.Settings(), user=Customer, before_signup=refuse)
        schema = gqlauth.Schema(gqlauth.Query, gqlauth.Mutation, types=[User])
        app = Starlette(routes=auth.routes(schema), lifespan=auth.lifespan)
        """
    )
    done = run(
        host,
        """
        import customers, pytest

        ME = "{ me { name company points } }"

        @pytest.fixture
        def auth_app():
            return customers.app

        def test_columns(auth_client):
            ada = auth_client.login_as("ada@example.com", company="Engines")
            assert ada.execute(ME) == {"me": {"name": "", "company": "Engines", "points": 7}}
            auth_client.login_as("ada@example.com", company="Looms", points=8)
            assert ada.execute(ME) == {"me": {"name": "", "company": "Looms", "points": 8}}

        def test_what_is_wrong_is_told(auth_client):
            with pytest.raises(TypeError, match="there is no ada@example.com yet, and a new Customer needs company"):
                auth_client.login_as("ada@example.com")
            with pytest.raises(TypeError, match="Customer has no column shoe_size, size"):
                auth_client.login_as("ada@example.com", company="Engines", size=1, shoe_size=2)
            with pytest.raises(TypeError, match="roles are a list of names: \\\\['admin'\\\\]"):
                auth_client.login_as("ada@example.com", company="Engines", roles="admin")
            with pytest.raises(LookupError, match="bob@example.com is not in the database"):
                auth_client.login_as(customers.Customer(email="bob@example.com"))
        """,
    )
    done.assert_outcomes(passed=2)
