"""A host's own class for users, with its own fields in the API."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
import strawberry
from msgspec.structs import replace
from sqlalchemy import Index, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column
from starlette.applications import Starlette
from starlette.testclient import TestClient

import gqlauth
from gqlauth import Auth, AuthError, ConfigurationError, InvalidInput, Settings, Signup
from gqlauth.accounts import service
from gqlauth.events import SignupRefused
from gqlauth.keys import service as keys
from gqlauth.runtime import Client
from gqlauth.sessions.service import SignedIn
from tests.hosts import shop
from tests.hosts.shop import Customer, check_invitation, create_schema
from tests.support import PASSWORD, Clock, GraphQLClient

USER = "id email name company handle points greeting"
SIGNUP = f"""mutation Signup($input: SignupInput!) {{
  signup(input: $input) {{
    ... on AuthPayload {{ accessToken refreshToken user {{ {USER} }} }}
    ... on AuthError {{ code message field }}
  }}
}}"""
LOGIN = f"""mutation Login($input: LoginInput!) {{
  login(input: $input) {{ ... on AuthPayload {{ user {{ {USER} }} }} ... on AuthError {{ code }} }}
}}"""
UPDATE = f"""mutation Update($input: UpdateProfileInput!) {{
  updateProfile(input: $input) {{ __typename ... on User {{ {USER} }} ... on AuthError {{ code message field }} }}
}}"""
ADA = {"email": "ada@example.com", "password": PASSWORD, "name": "Ada", "company": "Engines", "invitation": "friend"}
SHOWN = {
    "email": "ada@example.com",
    "name": "Ada",
    "company": "Engines",
    "handle": None,
    "points": 100,
    "greeting": "Ada of Engines",
}


@pytest.fixture
def auth(settings: Settings, clock: Clock) -> Auth[Customer]:
    return Auth(settings, user=Customer, before_signup=check_invitation, clock=clock)


@pytest.fixture
def client(auth: Auth[Customer]) -> Iterator[GraphQLClient]:
    auth.create_tables()
    with TestClient(Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan)) as http:
        yield GraphQLClient(http)


def signup(client: GraphQLClient, **changes: Any) -> dict[str, Any]:
    result: dict[str, Any] = client.execute(SIGNUP, {"input": ADA | changes})["signup"]
    return result


def without_id(user: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in user.items() if name != "id"}


def test_every_operation_shows_the_hosts_fields(client: GraphQLClient) -> None:
    payload = signup(client)
    assert without_id(payload["user"]) == SHOWN
    token = payload["accessToken"]
    for _ in range(2):  # the second time by its plan
        assert client.execute(f"{{ me {{ {USER} }} }}", token=token)["me"] == payload["user"]
    login = {"input": {"email": ADA["email"], "password": PASSWORD}}
    assert client.execute(LOGIN, login)["login"]["user"] == payload["user"]
    assert client.refresh(payload["refreshToken"])["user"]["email"] == ADA["email"]
    assert client.execute("{ discount }", token=token) == {"discount": 10}


def test_the_profile_changes_by_the_hosts_fields(client: GraphQLClient) -> None:
    token = signup(client)["accessToken"]
    changed = client.execute(UPDATE, {"input": {"company": "Looms", "handle": "ada"}}, token)["updateProfile"]
    assert without_id(changed) == SHOWN | {
        "__typename": "User",
        "company": "Looms",
        "handle": "ada",
        "greeting": "Ada of Looms",
    }
    # A null empties what can be empty, and leaves the rest.
    changed = client.execute(UPDATE, {"input": {"company": None, "handle": None}}, token)["updateProfile"]
    assert (changed["company"], changed["handle"]) == ("Looms", None)


def test_the_host_may_refuse_a_signup(client: GraphQLClient) -> None:
    refused = {"code": "INVALID_INPUT", "message": "This is no invitation.", "field": "invitation"}
    assert signup(client, invitation="stranger") == refused
    assert signup(client)["user"]["points"] == 100


def test_what_the_host_refuses_is_told_where_a_listener_may_block(auth: Auth[Customer], client: GraphQLClient) -> None:
    told = []

    @auth.on(SignupRefused)
    def listen(event: SignupRefused) -> None:
        with pytest.raises(RuntimeError):  # no event loop runs in this thread
            asyncio.get_running_loop()
        told.append(event.reason)

    signup(client, invitation="stranger")
    assert told == ["INVALID_INPUT"]


def test_the_host_may_await_before_it_refuses(settings: Settings) -> None:
    async def check(signup: Signup[Customer]) -> None:
        await asyncio.sleep(0)
        check_invitation(signup)

    auth = Auth(settings, user=Customer, before_signup=check)
    auth.create_tables()
    with TestClient(Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan)) as http:
        assert signup(GraphQLClient(http), invitation="stranger")["field"] == "invitation"
        assert signup(GraphQLClient(http))["user"]["points"] == 100


def test_whoever_logs_in_does_not_wait_for_a_host_that_thinks(settings: Settings) -> None:
    """As many sign-ups as there are threads that hash, and one more, while the host asks elsewhere."""
    asked, answered = threading.Semaphore(0), threading.Event()
    count = (os.cpu_count() or 1) + 1

    async def check(signup: Signup[Customer]) -> None:
        asked.release()
        if signup.extra["invitation"] == "slow":
            await asyncio.to_thread(answered.wait)

    auth = Auth(replace(settings, rate_limits=False), user=Customer, before_signup=check)
    auth.create_tables()
    with (
        TestClient(Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan)) as http,
        ThreadPoolExecutor(count + 1) as threads,
    ):
        client = GraphQLClient(http)
        signup(client)
        asked.acquire()
        waiting = [threads.submit(signup, client, email=f"{i}@example.com", invitation="slow") for i in range(count)]
        try:
            assert all(asked.acquire(timeout=60) for _ in waiting)
            assert threads.submit(client.login).result(timeout=60)["accessToken"]
        finally:
            answered.set()
        assert all("user" in one.result() for one in waiting)


def test_an_address_that_the_host_writes_anew_is_the_one_that_counts(settings: Settings) -> None:
    def rewrite(signup: Signup[Customer]) -> None:
        signup.user.email = signup.user.email.replace("+spam", "")

    auth = Auth(settings, user=Customer, before_signup=rewrite)
    auth.create_tables()
    with TestClient(Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan)) as http:
        client = GraphQLClient(http)
        assert signup(client, email="Ada+spam@example.com")["user"]["email"] == "Ada@example.com"
        assert signup(client)["code"] == "EMAIL_TAKEN"
        login = {"input": {"email": ADA["email"], "password": PASSWORD}}
        assert client.execute(LOGIN, login)["login"]["user"]["email"] == "Ada@example.com"


@pytest.mark.parametrize("wrong", [StopIteration, KeyError, TimeoutError])
def test_a_host_that_fails_is_an_error_on_our_side_and_nothing_is_written(
    settings: Settings, wrong: type[Exception]
) -> None:
    """`StopIteration`, as `next(...)` raises it, is one that no future takes: the request would never be answered."""

    def fail(signup: Signup[Customer]) -> None:
        if signup.extra["invitation"] == "friend":
            raise wrong

    auth = Auth(settings, user=Customer, before_signup=fail)
    auth.create_tables()
    with TestClient(Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan)) as http:
        answer = GraphQLClient(http).post(SIGNUP, {"input": ADA}).json()
        assert answer["errors"][0]["extensions"]["code"] == "INTERNAL_ERROR"
        assert "user" in signup(GraphQLClient(http), invitation="of nobody")


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"company": "x" * 21}, "INVALID_INPUT", "company"),
        ({"company": "nul \0"}, "INVALID_INPUT", "company"),
        ({"handle": "ada"}, "INVALID_INPUT", "handle"),
        ({"email": "Grace@example.com"}, "EMAIL_TAKEN", "email"),
    ],
)
def test_what_a_column_cannot_hold_is_refused_at_its_field(
    client: GraphQLClient, changes: dict[str, str], code: str, field: str
) -> None:
    assert "user" in signup(client, email="grace@example.com", handle="ada")
    refusal = signup(client, **changes)
    assert (refusal["code"], refusal["field"]) == (code, field)


def test_a_handle_that_is_taken_cannot_be_taken_over(client: GraphQLClient) -> None:
    signup(client, email="grace@example.com", handle="grace")
    token = signup(client)["accessToken"]
    refusal = client.execute(UPDATE, {"input": {"handle": "grace", "company": "Looms"}}, token)["updateProfile"]
    assert refusal == {
        "__typename": "AuthError",
        "code": "INVALID_INPUT",
        "message": "This is taken.",
        "field": "handle",
    }
    assert client.execute("{ me { company } }", token=token) == {"me": {"company": "Engines"}}


def test_nobody_sets_what_is_gqlauths_own(settings: Settings) -> None:
    """Mass assignment (ASVS 15.3.3): a host's field of that name is no way to a column of ours."""

    @strawberry.input(name="SignupInput")
    class Greedy(gqlauth.SignupInput):
        password_hash: str

    schema = gqlauth.Schema(gqlauth.Query, gqlauth.Mutation, types=[Greedy])
    auth = Auth(settings)
    with TestClient(Starlette(routes=auth.routes(schema), lifespan=auth.lifespan)) as http:
        variables = {"input": {"email": "ada@example.com", "password": PASSWORD, "passwordHash": "mine"}}
        answer = GraphQLClient(http).post(
            "mutation($input: SignupInput!) { signup(input: $input) { __typename } }", variables
        )
        assert answer.json()["errors"][0]["extensions"]["code"] == "INTERNAL_ERROR"
        assert GraphQLClient(http).login()["code"] == "INVALID_CREDENTIALS"


def test_a_column_that_no_input_names_is_not_set(client: GraphQLClient) -> None:
    """Mass assignment (ASVS 15.3.3): `points` is a column of the host's, and no input has it."""
    answer = client.post(SIGNUP, {"input": ADA | {"points": 1_000}}).json()
    assert "type 'SignupInput' not to include unknown field 'points'" in answer["errors"][0]["message"]
    token = signup(client)["accessToken"]
    answer = client.post(UPDATE, {"input": {"points": 1_000}}, token).json()
    assert "type 'UpdateProfileInput' not to include unknown field 'points'" in answer["errors"][0]["message"]
    assert client.execute("{ me { points } }", token=token) == {"me": {"points": 100}}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_without_the_lifespan_it_is_said_what_is_missing(auth: Auth[Customer]) -> None:
    app, query = Starlette(routes=auth.routes(create_schema())), {"query": "{ me { id } }"}
    with pytest.raises(RuntimeError, match=r"^gqlauth is not running: give your application lifespan=auth\.lifespan$"):
        TestClient(app).post("/graphql", json=query)
    with pytest.raises(RuntimeError, match=r"^no keys are loaded: run inside Auth\.lifespan$"):
        TestClient(app).get("/.well-known/jwks.json")
    assert TestClient(app, raise_server_exceptions=False).post("/graphql", json=query).status_code == 500
    assert TestClient(app).get("/readyz").status_code == 503


def test_a_database_that_the_host_has_not_migrated_is_told_in_one_line(auth: Auth[Customer]) -> None:
    app = Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan)
    with (
        pytest.raises(ConfigurationError, match=r"lacks customers, grants, .*run the migrations of your"),
        TestClient(app),
    ):
        pass


def test_a_column_that_nothing_fills_is_named_in_the_log(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    auth = Auth(settings, user=Customer)
    auth.create_tables()
    forgotten = gqlauth.Schema(gqlauth.Query, gqlauth.Mutation)  # types=[...]
    with TestClient(Starlette(routes=auth.routes(forgotten), lifespan=auth.lifespan)) as http:
        document = (
            f'mutation {{ signup(input: {{ email: "ada@example.com", password: "{PASSWORD}" }}) {{ __typename }} }}'
        )
        assert GraphQLClient(http).refused(document)["code"] == "INTERNAL_ERROR"
    assert "ConfigurationError: a new Customer needs company: " in caplog.text


def test_a_context_that_is_not_ours_is_refused() -> None:
    other: Any = dict
    with pytest.raises(
        ConfigurationError, match=r"^context is a subclass of gqlauth.Context, and <class 'dict'> is none$"
    ):
        Auth(Settings(), context=other)


def test_a_type_by_another_name_is_refused() -> None:
    @strawberry.type
    class Person(gqlauth.User):
        company: str

    with pytest.raises(ConfigurationError, match='would be called Person: give it name="User"'):
        gqlauth.Schema(gqlauth.Query, gqlauth.Mutation, types=[Person])


def test_two_types_for_one_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="both stand for"):
        gqlauth.Schema(gqlauth.Query, types=[shop.User, strawberry.type(type("User", (gqlauth.User,), {}))])


def test_a_class_that_is_not_mapped_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="is not a mapped class"):
        Auth(Settings(), user=gqlauth.UserColumns)


def test_other_schemas_keep_our_own_types() -> None:
    create_schema()
    assert "company" not in gqlauth.Schema(gqlauth.Query, gqlauth.Mutation).as_str()


class Base(DeclarativeBase):
    """Of a host whose accounts are unique in other ways than by one column."""


class Member(gqlauth.UserColumns, Base):
    __tablename__ = "members"
    __table_args__ = (UniqueConstraint("team", "number"), Index("one_nickname", "nickname", unique=True))

    team: Mapped[str] = mapped_column(default="red")
    number: Mapped[int] = mapped_column(default=0)
    nickname: Mapped[str | None] = mapped_column(String(10))
    # Calculated, so nothing that could be written.
    shirt: Mapped[str] = column_property(sa.literal("shirt of ") + team.column)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"team": "blue", "number": 7}, "INVALID_INPUT", "team"),
        ({"nickname": "ada", "number": 8}, "INVALID_INPUT", "nickname"),
        ({"email": "Grace@example.com", "nickname": "ada"}, "EMAIL_TAKEN", "email"),
        ({"shirt": "none", "number": 8}, "INVALID_INPUT", "shirt"),
    ],
)
def test_what_is_unique_in_another_way_is_refused_at_its_field(
    settings: Settings, changes: dict[str, Any], code: str, field: str
) -> None:
    auth = Auth(settings, user=Member, before_signup=refuse_the_rest)
    auth.create_tables()
    keys.ensure(auth.runtime)
    keys.load(auth.runtime)

    def signup(**extra: Any) -> SignedIn:
        email = extra.pop("email", "ada@example.com")
        given = {"email": email, "password": PASSWORD, "name": "Ada", "client": Client(), "extra": extra}
        checked = service.check_signup(auth.runtime, **given)
        asyncio.run(service.ask_host(auth.runtime, checked))
        return service.signup(auth.runtime, checked, PASSWORD)

    signup(email="grace@example.com", team="blue", number=7, nickname="ada")
    with pytest.raises(AuthError) as refused:
        signup(**changes)
    assert (refused.value.code, refused.value.field) == (code, field)
    auth.runtime.database.dispose()


def refuse_the_rest(signup: Signup[Member]) -> None:
    for name in signup.extra:
        raise InvalidInput("This is no column.", field=name)
