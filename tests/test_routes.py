"""The routes beside GraphQL, and what a refusal says about them all."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
import strawberry
from starlette.applications import Starlette
from starlette.testclient import TestClient

import gqlauth
from gqlauth import Auth, HasRole, HasScope, Settings, guarded
from gqlauth.app import create_schema
from tests.support import GraphQLClient
from tests.tables import Key


def test_the_process_and_the_database_say_that_they_live(client: GraphQLClient) -> None:
    for path in ("/healthz", "/readyz"):
        response = client.http.get(path)
        assert (response.status_code, response.text) == (200, "ok")


def test_readyz_fails_where_the_database_does_and_healthz_does_not(auth: Auth, client: GraphQLClient) -> None:
    with auth.runtime.database.transaction() as db:
        db.execute(sa.text(f"DROP TABLE {Key.__table__}"))
    assert client.http.get("/readyz").status_code == 503
    assert client.http.get("/healthz").status_code == 200


def test_a_shared_secret_is_never_published(tmp_path_factory: pytest.TempPathFactory) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('secret')}/test.db"
    secret = "correct-horse-battery-staple-0123456789"
    auth = Auth(Settings(environment="test", bcrypt_cost=4, database_url=url, algorithm="HS256", secret_key=secret))
    app = Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan)
    with TestClient(app) as client:
        assert client.get("/.well-known/jwks.json").json() == {"keys": []}


def test_public_keys_are_published_without_their_private_parts(client: GraphQLClient) -> None:
    [key] = client.http.get("/.well-known/jwks.json").json()["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "alg", "use"}
    assert (key["alg"], key["use"]) == ("ES256", "sig")


@pytest.mark.parametrize(
    ("token", "challenge"),
    [
        (None, "Bearer"),
        ("nonsense", 'Bearer error="invalid_token", error_description="TOKEN_INVALID"'),
    ],
)
def test_a_request_that_is_refused_as_a_whole_says_how_to_sign_in(
    client: GraphQLClient, token: str | None, challenge: str
) -> None:
    """RFC 6750 section 3."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    refused_whole = client.http.post("/graphql", json={"query": "{ me { id } }"}, headers=headers)
    assert refused_whole.headers["www-authenticate"] == challenge
    for document in ("{ __typename }", "{ nothing }"):
        answer = client.http.post("/graphql", json={"query": document}, headers=headers)
        assert "www-authenticate" not in answer.headers


@strawberry.type
class Posts(gqlauth.Query):
    @strawberry.field(extensions=guarded(HasScope("posts:write")))
    def posts(self) -> int:
        return 1

    @strawberry.field(extensions=guarded(HasRole("admin")))
    def users(self) -> int:
        return 1


def test_a_request_that_lacks_a_scope_says_so(auth: Auth) -> None:
    """RFC 6750 section 3.1."""
    app = Starlette(routes=auth.routes(gqlauth.Schema(Posts, gqlauth.Mutation)), lifespan=auth.lifespan)
    with TestClient(app) as http:
        client = GraphQLClient(http)
        token = client.signup()["accessToken"]
        refused = client.post("{ posts again: posts }", token=token)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (200, 'Bearer error="insufficient_scope"')
        assert refused.json()["errors"][0]["extensions"] == {"code": "FORBIDDEN", "reason": "SCOPE_REQUIRED"}
        assert client.post("{ posts }").headers["www-authenticate"] == "Bearer"
        for document in ("{ users }", "{ users posts }"):
            assert "www-authenticate" not in client.post(document, token=token).headers
