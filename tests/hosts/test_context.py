"""`info.context`: typed, a host's subclass of it, and a dict with it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, assert_type

import pytest
import strawberry
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.testclient import TestClient
from strawberry.dataloader import DataLoader

import gqlauth
from gqlauth import Auth, Context, Settings, Viewer, context_of
from gqlauth.users.models import UserColumns
from tests.hosts.shop import Customer
from tests.hosts.views import fastapis_router_with_a_dict, our_route
from tests.support import LOGOUT, ME, PASSWORD, Clock, GraphQLClient

ORIGIN = "http://localhost"
COOKIES = """mutation($input: SignupInput!) {
  signup(input: $input) { ... on AuthPayload { refreshToken user { email } } ... on AuthError { code } }
}"""
REFRESH = "mutation { refreshToken { ... on AuthPayload { refreshToken } ... on AuthError { code } } }"


class LoaderContext(Context):
    """With a dataloader, and a count of what it was asked."""

    @cached_property
    def squares(self) -> DataLoader[int, int]:
        async def load(keys: list[int]) -> list[int]:
            self.batches.append(len(keys))
            return [key * key for key in keys]

        return DataLoader(load)

    @cached_property
    def batches(self) -> list[int]:
        return []


Info = strawberry.Info[LoaderContext, None]


@strawberry.type
class Query(gqlauth.Query):
    @strawberry.field
    async def square(self, info: Info, of: int) -> int:
        return await info.context.squares.load(of)

    @strawberry.field
    async def squares(self, info: Info) -> list[int]:
        return await info.context.squares.load_many([1, 2, 3])

    @strawberry.field
    def batches(self, info: Info) -> list[int]:
        return info.context.batches

    @strawberry.field
    def viewer_id(self, info: Info) -> str:
        viewer = info.context.viewer
        assert_type(viewer, Viewer)
        return str(viewer.user_id)

    @strawberry.field
    async def own_email(self, info: Info) -> str:
        user = await info.context.load_user()
        assert_type(user, UserColumns)
        return user.email


@strawberry.type
class ForDicts(gqlauth.Query):
    @strawberry.field
    def shelf(self, info: strawberry.Info[dict[str, Any], None]) -> str:
        return f"{info.context['shelf']} of {context_of(info).viewer.user_id}"


async def typed(connection: HTTPConnection, settings: Settings) -> None:
    """What mypy sees; nobody calls it."""
    assert_type(await Auth(settings).get_context(connection), Context[UserColumns])
    assert_type(await Auth(settings, user=Customer).get_context(connection), Context[Customer])
    assert_type(await Auth(settings, context=LoaderContext).get_context(connection, Response()), LoaderContext)
    anyone: list[Auth] = [Auth(settings, user=Customer), Auth(settings, context=LoaderContext)]
    assert_type(await anyone[0].get_context(connection), Context[UserColumns])
    assert_type(await (await Auth(settings, user=Customer).get_context(connection)).load_user(), Customer)


@pytest.fixture
def client(settings: Settings, clock: Clock) -> Iterator[GraphQLClient]:
    auth = Auth(settings, context=LoaderContext, clock=clock)
    with TestClient(our_route(auth, gqlauth.Schema(Query, gqlauth.Mutation))) as http:
        yield GraphQLClient(http)


def test_a_dataloader_lives_as_long_as_its_request(client: GraphQLClient) -> None:
    for _ in range(2):  # the second time by its plan
        answer = client.execute("{ a: square(of: 2) b: square(of: 3) squares }")
        assert answer == {"a": 4, "b": 9, "squares": [1, 4, 9]}
        assert client.execute("{ batches }") == {"batches": []}


def test_what_one_operation_loads_is_one_batch(settings: Settings) -> None:
    contexts: list[LoaderContext] = []

    class Kept(LoaderContext):
        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            contexts.append(self)

    auth = Auth(settings, context=Kept)
    with TestClient(our_route(auth, gqlauth.Schema(Query, gqlauth.Mutation))) as http:
        GraphQLClient(http).execute("{ a: square(of: 2) b: square(of: 2) c: square(of: 5) squares }")
    assert [context.batches for context in contexts] == [[4]]


def test_a_field_without_a_guard_that_asks_for_the_viewer_is_closed(client: GraphQLClient) -> None:
    for field in ("viewerId", "ownEmail"):
        assert client.refused(f"{{ {field} }}") == {"code": "UNAUTHENTICATED", "reason": "TOKEN_MISSING"}
    payload = client.signup()
    answer = client.execute("{ viewerId ownEmail }", token=payload["accessToken"])
    assert answer == {"viewerId": payload["user"]["id"], "ownEmail": "ada@example.com"}


@pytest.fixture(params=[gqlauth.Schema, strawberry.Schema])
def dicts(request: pytest.FixtureRequest, settings: Settings, clock: Clock) -> Iterator[GraphQLClient]:
    """FastAPI's router with a getter of a dict, which leaves the response to the router."""
    app = fastapis_router_with_a_dict(Auth(settings, clock=clock), request.param(ForDicts, gqlauth.Mutation))
    with TestClient(app, base_url=ORIGIN) as http:
        yield GraphQLClient(http)


def test_a_context_that_is_a_dict_serves_all_of_ours(dicts: GraphQLClient, clock: Clock) -> None:
    payload = dicts.signup()
    token = payload["accessToken"]
    assert dicts.me(token) == payload["user"] == dicts.login()["user"]
    assert len(dicts.sessions(token)) == 2
    assert dicts.execute("{ shelf }", token=token) == {"shelf": f"tea of {payload['user']['id']}"}
    assert dicts.refused("{ shelf }")["reason"] == "TOKEN_MISSING"
    clock.advance(901)
    assert dicts.refused(ME, token=token)["reason"] == "TOKEN_EXPIRED"
    token = dicts.refresh(payload["refreshToken"])["accessToken"]
    update = 'mutation { updateProfile(input: {name: "Countess"}) { ... on User { name } } }'
    assert dicts.execute(update, token=token) == {"updateProfile": {"name": "Countess"}}
    assert dicts.execute("mutation { revokeOtherSessions }", token=token) == {"revokeOtherSessions": 1}
    assert dicts.execute(LOGOUT, token=token) == {"logout": True}
    assert dicts.refused(ME, token=token)["reason"] == "SESSION_REVOKED"


def test_cookies_arrive_from_a_context_that_is_a_dict(dicts: GraphQLClient) -> None:
    dicts.http.headers["origin"] = ORIGIN
    account = {"email": "ada@example.com", "password": PASSWORD, "useCookies": True}
    signed_up = dicts.execute(COOKIES, {"input": account})
    assert signed_up == {"signup": {"refreshToken": None, "user": {"email": "ada@example.com"}}}
    before = dict(dicts.http.cookies)
    assert len(before) == 3
    assert dicts.execute(REFRESH) == {"refreshToken": {"refreshToken": None}}
    assert dicts.http.cookies["gqlauth-refresh"] != before["gqlauth-refresh"]
    assert dicts.execute("{ me { email } }") == {"me": {"email": "ada@example.com"}}
    assert dicts.execute(LOGOUT) == {"logout": True}
    assert set(dicts.http.cookies) == {"gqlauth-device"}
