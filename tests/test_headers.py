"""What every answer of the server has in common, whatever was asked: its type, its safety, its methods.

ASVS 4.1.1: Content-Type with charset; ASVS 4.1.4, 13.4.4: unused methods are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from httpx2 import Response
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from gqlauth import Settings
from gqlauth.app import create_app
from tests.forge import decode
from tests.support import LOGIN, PASSWORD, REFRESH, SIGNUP

BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"
SIGNUP_VARIABLES = {"input": {"email": "ada@example.com", "password": PASSWORD, "name": ""}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The ready server, as `gqlauth serve` runs it."""
    url = f"sqlite:///{tmp_path_factory.mktemp('headers')}/test.db"
    with TestClient(create_app(Settings(environment="test", bcrypt_cost=4, database_url=url))) as client:
        yield client


def graphql(server: TestClient, query: str = "{ __typename }", **variables: object) -> Response:
    answer: Response = server.post("/graphql", json={"query": query, "variables": variables})
    return answer


ANSWERS = {
    "data": ("POST", "/graphql", {"json": {"query": "{ __typename }"}}, 200),
    "refused by a guard": ("POST", "/graphql", {"json": {"query": "{ me { id } }"}}, 200),
    "invalid document": ("POST", "/graphql", {"json": {"query": "{"}}, 200),
    "no JSON": ("POST", "/graphql", {"content": "{", "headers": {"content-type": "application/json"}}, 400),
    "another method": ("PUT", "/graphql", {}, 405),
    "not acceptable": ("POST", "/graphql", {"json": {}, "headers": {"accept": "image/png"}}, 406),
    "too large": ("POST", "/graphql", {"json": {"query": "x" * 100_001}}, 413),
    "too long": ("POST", "/graphql?" + "x" * 8_001, {"json": {"query": "{ __typename }"}}, 414),
    "a form": ("POST", "/graphql", {"data": {"query": "{ __typename }"}}, 415),
    "headers too large": ("POST", "/graphql", {"json": {}, "headers": {"x-filler": "x" * 20_000}}, 431),
    "GraphiQL": ("GET", "/graphql", {"headers": {"accept": BROWSER}}, 200),
    "sign in": ("GET", "/", {}, 200),
    "sign up": ("GET", "/signup", {}, 200),
    "dashboard": ("GET", "/dashboard", {}, 200),
    "sign in by another method": ("POST", "/", {}, 405),
    "script": ("GET", "/graphql/graphiql/graphiql.js", {}, 200),
    "style": ("GET", "/graphql/graphiql/graphiql.css", {}, 200),
    "script by another method": ("POST", "/graphql/graphiql/graphiql.js", {}, 405),
    "keys": ("GET", "/.well-known/jwks.json", {}, 200),
    "keys by another method": ("POST", "/.well-known/jwks.json", {}, 405),
    "alive": ("GET", "/healthz", {}, 200),
    "alive by another method": ("DELETE", "/healthz", {}, 405),
    "ready": ("GET", "/readyz", {}, 200),
    "nothing": ("GET", "/nothing", {}, 404),
    "nothing below": ("POST", "/graphql/nothing", {}, 404),
    "nothing above": ("GET", "/..%2f..%2fetc/passwd", {}, 404),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_every_answer_says_its_type_and_charset_and_may_be_taken_for_nothing_else(
    server: TestClient, case: str
) -> None:
    """ASVS 4.1.1."""
    method, path, more, status = ANSWERS[case]
    answer = server.request(method, path, **more)  # type: ignore[arg-type]
    assert answer.status_code == status
    assert answer.headers["content-type"].partition("; ")[2] == "charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    if not answer.headers["content-type"].startswith("application/"):
        assert answer.headers["referrer-policy"] == "no-referrer"


KEPT = {
    "/.well-known/jwks.json": "public, max-age=60",
    "/graphql/graphiql/graphiql.js": "no-cache",
    "/graphql/graphiql/graphiql.css": "no-cache",
}


@pytest.mark.parametrize("case", ANSWERS)
def test_only_public_keys_and_scripts_are_kept_by_anybody(server: TestClient, case: str) -> None:
    method, path, more, status = ANSWERS[case]
    answer = server.request(method, path, **more)  # type: ignore[arg-type]
    assert answer.headers["cache-control"] == (KEPT.get(path, "no-store") if status == 200 else "no-store")


def test_an_answer_that_holds_a_token_is_never_kept(server: TestClient) -> None:
    """RFC 6750 section 5.3: no-store on every answer that holds a token."""
    answers = [graphql(server, SIGNUP, **SIGNUP_VARIABLES)]
    for cookies in (False, True):
        variables = {"email": "ada@example.com", "password": PASSWORD, "useCookies": cookies}
        answers.append(graphql(server, LOGIN, input=variables))
    token = answers[0].json()["data"]["signup"]["refreshToken"]
    server.cookies.clear()
    answers.append(graphql(server, REFRESH, token=token))
    for answer in answers:
        assert "accessToken" in answer.text
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "served"),
    [
        ("/graphql", "POST"),
        ("/.well-known/jwks.json", "GET, HEAD"),
        ("/healthz", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
        ("/", "GET, HEAD"),
        ("/dashboard", "GET, HEAD"),
        ("/graphql/graphiql/graphiql.js", "GET, HEAD"),
    ],
)
def test_each_address_serves_its_own_methods_and_no_other(server: TestClient, path: str, served: str) -> None:
    """ASVS 4.1.4, 13.4.4: TRACE and CONNECT too."""
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "x"):
        answer = server.request(method, path, headers={"accept": "application/json"})
        if method in served.split(", "):
            assert answer.status_code not in (404, 405)
        else:
            assert answer.status_code == 405
            assert set(answer.headers["allow"].split(", ")) == set(served.split(", "))


def test_an_address_that_is_too_long_is_refused(server: TestClient) -> None:
    """HTTP 7.4, ASVS 2.4.1: addresses have a limit as bodies (413) and headers (431) have."""
    body = {"query": "{ __typename }"}
    assert server.post("/graphql?" + "x" * 8_000, json=body).status_code == 200
    refused = server.post("/graphql?" + "x" * 8_001, json=body)
    assert refused.status_code == 414
    assert refused.json()["errors"][0]["extensions"] == {"code": "URI_TOO_LONG"}


def test_a_websocket_is_opened_at_the_api_alone(server: TestClient) -> None:
    """ASVS 4.1.4."""
    for path in ("/", "/healthz", "/.well-known/jwks.json", "/graphql/graphiql/graphiql.js", "/graphql/"):
        with pytest.raises(WebSocketDisconnect), server.websocket_connect(path, ["graphql-transport-ws"]):
            pass


@pytest.mark.parametrize("name", ["host", "x-forwarded-host", "forwarded", "x-forwarded-proto", "x-original-url"])
def test_the_issuer_comes_from_the_configuration_whatever_the_headers_say(name: str, tmp_path: Path) -> None:
    """ASVS 4.1.3; GHSA-m82j-rq33-qjx2 (authorizer): `iss` came from Host and X-Forwarded-Host."""
    url = f"sqlite:///{tmp_path}/test.db"
    settings = Settings(environment="test", bcrypt_cost=4, database_url=url, public_url="https://auth.example")
    with TestClient(create_app(settings)) as client:
        body = {"query": SIGNUP, "variables": SIGNUP_VARIABLES}
        answer = client.post("/graphql", json=body, headers={name: "host=evil.example"})
        token = answer.json()["data"]["signup"]["accessToken"]
        assert b'"iss":"https://auth.example"' in decode(token.split(".")[1])
        assert "evil.example" not in answer.text
