"""A client of an `Auth` that a test has made itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import strawberry
from starlette.applications import Starlette
from starlette.testclient import TestClient

from gqlauth import Auth
from gqlauth.app import create_schema
from tests.support import GraphQLClient


@contextmanager
def client_of(auth: Auth[Any], schema: strawberry.Schema | None = None) -> Iterator[GraphQLClient]:
    """Run a server for the time of the block; its schema is ours unless the host has one."""
    with TestClient(Starlette(routes=auth.routes(schema or create_schema()), lifespan=auth.lifespan)) as http:
        yield GraphQLClient(http)


def use_everything(client: GraphQLClient, email: str = "ada@example.com") -> dict[str, Any]:
    """Sign up, read, refresh, sign in and out elsewhere: every table is read and written. Return the account."""
    payload = client.signup(email=email)
    assert client.me(payload["accessToken"]) == payload["user"]
    refreshed = client.refresh(payload["refreshToken"])
    there = client.login(email=email)
    token = refreshed["accessToken"]
    assert [session["current"] for session in client.sessions(token)] == [False, True]
    assert client.execute("mutation { revokeOtherSessions }", token=token) == {"revokeOtherSessions": 1}
    assert client.refused("{ me { id } }", token=there["accessToken"])["reason"] == "SESSION_REVOKED"
    account: dict[str, Any] = client.me(token)
    assert account == payload["user"]
    return account
