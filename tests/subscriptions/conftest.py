"""A server with subscriptions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

import gqlauth
from gqlauth import Auth
from tests.subscriptions.support import Subscription
from tests.support import GraphQLClient


@pytest.fixture
def client(auth: Auth) -> Iterator[GraphQLClient]:
    """A client of a running server, whose schema has subscriptions of its own beside ours."""
    schema = gqlauth.Schema(gqlauth.Query, gqlauth.Mutation, Subscription)
    app = Starlette(routes=auth.routes(schema), lifespan=auth.lifespan)
    with TestClient(app, base_url="http://localhost") as http:
        yield GraphQLClient(http)
