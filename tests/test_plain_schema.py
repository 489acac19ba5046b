"""A host that uses a plain strawberry.Schema: slower, without limits and masking, but correct."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import strawberry
from starlette.applications import Starlette
from starlette.testclient import TestClient
from strawberry.asgi import GraphQL

import gqlauth
from gqlauth import Auth, Context
from tests.support import LOGOUT, ME, Clock, GraphQLClient


@pytest.fixture(params=["our route", "Strawberry's view"])
def plain(request: pytest.FixtureRequest, auth: Auth) -> Iterator[GraphQLClient]:
    """A client of a host's own schema class, behind our route or Strawberry's."""
    schema = strawberry.Schema(gqlauth.Query, gqlauth.Mutation)

    class View(GraphQL[Context, None]):
        async def get_context(self, request, response):  # type: ignore[no-untyped-def]
            return await auth.get_context(request, response)

    app = Starlette(routes=auth.routes(schema), lifespan=auth.lifespan)
    if request.param == "Strawberry's view":
        app = Starlette(lifespan=auth.lifespan)
        app.add_route("/graphql", View(schema))  # type: ignore[arg-type]
    with TestClient(app) as http:
        yield GraphQLClient(http)


def test_refusals_are_data_and_guards_say_why(plain: GraphQLClient, clock: Clock) -> None:
    payload = plain.signup()
    assert plain.me(payload["accessToken"]) == payload["user"]
    assert plain.signup()["code"] == "EMAIL_TAKEN"
    assert plain.refused(ME) == {"code": "UNAUTHENTICATED", "reason": "TOKEN_MISSING"}
    clock.advance(901)
    assert plain.refused(ME, token=payload["accessToken"])["reason"] == "TOKEN_EXPIRED"
    refreshed = plain.refresh(payload["refreshToken"], payload["accessToken"])
    assert plain.execute(LOGOUT, token=refreshed["accessToken"]) == {"logout": True}
    assert plain.refused(ME, token=refreshed["accessToken"])["reason"] == "SESSION_REVOKED"


def test_what_cannot_be_executed_is_the_clients_error(auth: Auth) -> None:
    app = Starlette(routes=auth.routes(strawberry.Schema(gqlauth.Query, gqlauth.Mutation)), lifespan=auth.lifespan)
    accept = {"accept": "application/graphql-response+json"}
    with TestClient(app, headers=accept) as http:
        for query in ("", "{", "{ nothing }", "fragment F on Query { __typename }"):
            response = http.post("/graphql", json={"query": query})
            assert (response.status_code, list(response.json())) == (400, ["errors"])
