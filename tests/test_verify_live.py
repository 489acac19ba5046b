"""A sibling service beside a running `gqlauth serve`, as docs/verify.md shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import jwt
import pytest
from starlette.testclient import TestClient

from gqlauth import InvalidToken, Reason, TokenVerifier, VerifiedToken, jwks, tokens, verify_token
from gqlauth.clock import utc_now
from tests import forge
from tests.docs import blocks, load
from tests.processes import Server, run, serving
from tests.support import LOGIN, ME, PASSWORD, SIGNUP, Clock

PAGE = (Path(__file__).parent.parent / "docs" / "verify.md").read_text("utf-8")
ISSUER = "http://127.0.0.1:8000"
CHEAP = {"environment": "test", "bcrypt_cost": "4"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path, **CHEAP) as server:
        yield server


def ask(server: Server, document: str, variables: dict[str, Any] | None = None, token: str | None = None) -> Any:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx2.post(server.url, json={"query": document, "variables": variables}, headers=headers).json()


def sign_in(server: Server, document: str = LOGIN) -> str:
    answer = ask(server, document, {"input": {"email": "ada@example.com", "password": PASSWORD}})
    token: str = next(iter(answer["data"].values()))["accessToken"]
    return token


def keys_of(server: Server) -> str:
    return f"{server.root}/.well-known/jwks.json"


def verifier(server: Server, **arguments: Any) -> TokenVerifier:
    return TokenVerifier(**{"jwks_url": keys_of(server), "issuer": ISSUER, "audience": "gqlauth", **arguments})


def rotate(server: Server, folder: Path) -> str:
    """Let a new key sign, and return a token by it."""
    new = run("keys", "rotate", folder=folder, **CHEAP).stdout.strip()
    # A token that names a key which it does not have yet makes the server look for it.
    ask(server, ME, token=forge.mint("ES256").issue())
    token = sign_in(server)
    assert jwt.get_unverified_header(token)["kid"] == new
    return token


def test_a_sibling_verifies_before_and_after_a_rotation_and_without_the_server(server: Server, tmp_path: Path) -> None:
    old = sign_in(server, SIGNUP)
    # The clock of the verifier stands in for the pause between two fetches.
    clock = Clock()
    clock.now = utc_now()
    sibling = verifier(server, clock=clock)
    user_id = sibling.verify(old).user_id
    assert verify_token(old, jwks_url=keys_of(server), issuer=ISSUER, audience="gqlauth").user_id == user_id
    new = rotate(server, tmp_path)
    clock.advance(jwks.PAUSE_SECONDS)
    assert sibling.verify(new).user_id == user_id
    assert sibling.verify(old).session_id != sibling.verify(new).session_id
    server.stop()
    assert verify_token(old, jwks_url=keys_of(server), issuer=ISSUER, audience="gqlauth").user_id == user_id
    clock.advance(600)
    assert sibling.verify(new).user_id == user_id
    clock.advance(600)
    with pytest.raises(InvalidToken) as refused:
        sibling.verify(new)
    assert refused.value.reason is Reason.TOKEN_EXPIRED


def test_a_sibling_refuses_what_is_not_for_it_or_not_by_us(server: Server) -> None:
    token = sign_in(server, SIGNUP)
    claims = jwt.decode(token, options={"verify_signature": False})
    header = jwt.get_unverified_header(token)
    secret = httpx2.get(keys_of(server)).content
    unsigned = ".".join([forge.encode(b'{"alg": "none", "typ": "at+jwt"}'), token.split(".")[1], ""])
    forged = [
        forge.hash_with(secret, {**header, "alg": "HS256"}, claims),
        forge.sign(header, claims, "ES256", tokens.generate_key("ES256").private),
        unsigned,
        unsigned + "AA",
        token[:-4] + "AAAA",
        "garbage",
    ]
    for each in forged:
        with pytest.raises(InvalidToken) as refused:
            verifier(server).verify(each)
        assert refused.value.reason is Reason.TOKEN_INVALID
    for wrong in ({"audience": "another"}, {"issuer": "https://another.example"}):
        with pytest.raises(InvalidToken):
            verifier(server, **wrong).verify(token)
    assert verifier(server).verify(token)


@pytest.fixture
def page(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    shown = blocks(PAGE, "python")[0]
    assert f"{ISSUER}/.well-known/jwks.json" in shown
    return load(shown.replace(f"{ISSUER}/.well-known", f"{server.root}/.well-known"), tmp_path, monkeypatch)


def test_the_service_of_the_page_works(server: Server, page: ModuleType) -> None:
    http = TestClient(page.app)
    token = sign_in(server, SIGNUP)
    answer = http.get("/orders", headers={"authorization": f"Bearer {token}"})
    assert answer.json() == {"orders of": ask(server, ME, token=token)["data"]["me"]["id"], "as": []}
    assert http.get("/orders").status_code == 401
    answer = http.get("/orders", headers={"authorization": "Bearer x"})
    assert (answer.status_code, answer.json()) == (401, {"error": "TOKEN_INVALID"})


def test_the_service_of_the_page_says_when_it_cannot_know(server: Server, page: ModuleType) -> None:
    token = sign_in(server, SIGNUP)
    server.stop()
    answer = TestClient(page.app).get("/orders", headers={"authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()) == (503, {"error": "try again"})


def test_the_query_of_the_page_tells_what_the_token_cannot(server: Server) -> None:
    query = blocks(PAGE, "graphql")[0]
    token = sign_in(server, SIGNUP)
    assert "errors" not in ask(server, query, token=token)
    ask(server, "mutation { logout }", token=token)
    assert ask(server, query, token=token)["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert verifier(server).verify(token)


def test_the_page_lists_every_attribute_and_says_the_true_figures() -> None:
    for field in fields(VerifiedToken):
        assert f"| `{field.name}` | " in PAGE
    for figure in (f"{tokens.MAX_TOKEN_BYTES:,} bytes", f"{jwks.MAX_SET_BYTES:,} bytes"):
        assert figure in PAGE
    assert f"at most once in {jwks.PAUSE_SECONDS} seconds" in PAGE
    assert f"with {tokens.CLOCK_SKEW_SECONDS} seconds" in PAGE
    assert jwks.MAX_AGE_SECONDS == 86_400
