"""Why somebody is kept out: UNAUTHENTICATED with each of its reasons."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from gqlauth import Auth
from gqlauth.accounts import service
from tests import forge
from tests.fuzz import fuzz
from tests.support import ME, Clock, GraphQLClient
from tests.tables import Session, User


def reason(client: GraphQLClient, *headers: str | bytes) -> str:
    """Ask `me` with these Authorization headers and return why it was refused."""
    fields = [(b"authorization", header.encode() if isinstance(header, str) else header) for header in headers]
    answer = client.http.post("/graphql", json={"query": ME}, headers=fields)
    assert answer.status_code == 200
    (error,) = answer.json()["errors"]
    assert error["extensions"]["code"] == "UNAUTHENTICATED"
    assert error["path"] == ["me"]
    found: str = error["extensions"]["reason"]
    return found


def test_no_token(client: GraphQLClient) -> None:
    assert reason(client) == "TOKEN_MISSING"


MALFORMED: list[str | bytes] = [
    "Bearer",
    "Bearer ",
    "Bearer nonsense",
    "Bearer a.b.c",
    "Bearer ..",
    "Bearer null",
    "Bearer Bearer x",
    b"Bearer \xff\xfe",
    b"Bearer \x00",
    "Bearer " + "a" * 10_000,
    "",
]


def test_a_malformed_token(client: GraphQLClient) -> None:
    """GHSA-xmf8-cvqr-rfgj: a malformed header threw."""
    for header in MALFORMED:
        assert reason(client, header) == "TOKEN_INVALID"


def test_another_scheme(client: GraphQLClient) -> None:
    token = client.signup()["accessToken"]
    for header in ["Basic {}", "Token {}", "{}", "JWT {}", "Bearer={}", "Bearer:{}", "Bearer\t{}", "Bearer {},"]:
        assert reason(client, header.format(token)) == "TOKEN_INVALID", header


def test_the_scheme_has_no_case(client: GraphQLClient) -> None:
    """RFC 9110 section 11.1."""
    token = client.signup()["accessToken"]
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer  "]:
        headers = {"authorization": f"{scheme} {token}"}
        answer = client.http.post("/graphql", json={"query": ME}, headers=headers).json()
        assert answer["data"]["me"]["email"] == "ada@example.com"


def test_two_authorization_headers(client: GraphQLClient) -> None:
    """RFC 6750 section 2: one method a request; which of two would count is a matter of taste."""
    token = f"Bearer {client.signup()['accessToken']}"
    assert reason(client, token, token) == "TOKEN_INVALID"
    assert reason(client, token, "Bearer x") == "TOKEN_INVALID"
    assert reason(client, "Basic YTpi", token) == "TOKEN_INVALID"


def test_a_token_anywhere_else_than_in_the_header(client: GraphQLClient) -> None:
    """RFC 6750 sections 2.2 and 2.3 are ways that we do not offer: bodies and addresses are logged."""
    token = client.signup()["accessToken"]
    body = {"query": ME, "access_token": token, "variables": {"access_token": token}}
    headers = {"x-access-token": token, "cookie": f"access_token={token}"}
    answer = client.http.post(f"/graphql?access_token={token}", json=body, headers=headers).json()
    assert answer["errors"][0]["extensions"]["reason"] == "TOKEN_MISSING"


def test_an_expired_token(client: GraphQLClient, clock: Clock) -> None:
    token = client.signup()["accessToken"]
    clock.advance(899)
    client.me(token)
    clock.advance(1)
    assert reason(client, f"Bearer {token}") == "TOKEN_EXPIRED"


def test_a_token_for_another_audience_or_of_another_issuer(client: GraphQLClient, auth: Auth) -> None:
    """Signed by our own key: a sibling service's token is not ours."""
    payload = client.signup()
    ring = auth.runtime.tokens.keys
    assert ring is not None
    header, claims = (json.loads(forge.decode(part)) for part in payload["accessToken"].split(".")[:2])
    assert client.me(forge.sign(header, claims, "ES256", ring.signing_key)) == payload["user"]
    for change in ({"aud": "sibling"}, {"iss": "https://sibling.example"}):
        assert (
            reason(client, f"Bearer {forge.sign(header, claims | change, 'ES256', ring.signing_key)}")
            == "TOKEN_INVALID"
        )


def test_a_token_of_another_users_session(client: GraphQLClient, auth: Auth) -> None:
    """Session and user belong together, or nothing counts."""
    ada, eve = client.signup(), client.signup(email="eve@example.com")
    ring = auth.runtime.tokens.keys
    assert ring is not None
    header, claims = (json.loads(forge.decode(part)) for part in ada["accessToken"].split(".")[:2])
    mixed = forge.sign(header, claims | {"sub": eve["user"]["id"]}, "ES256", ring.signing_key)
    assert reason(client, f"Bearer {mixed}") == "SESSION_REVOKED"


def change(auth: Auth, statement: Any) -> None:
    with auth.runtime.database.transaction() as db:
        db.execute(statement)


def test_an_ended_session(client: GraphQLClient, auth: Auth, clock: Clock) -> None:
    """ASVS 7.4.1: from the next request on."""
    token = client.signup()["accessToken"]
    client.me(token)
    change(auth, sa.update(Session).values(ended_at=clock()))
    assert reason(client, f"Bearer {token}") == "SESSION_REVOKED"


def test_a_session_that_is_past_its_time(client: GraphQLClient, auth: Auth, clock: Clock) -> None:
    token = client.signup()["accessToken"]
    change(auth, sa.update(Session).values(expires_at=clock()))
    assert reason(client, f"Bearer {token}") == "SESSION_REVOKED"


def test_a_deleted_user(client: GraphQLClient, auth: Auth) -> None:
    """ASVS 7.4.2, CVE-2024-22513, GHSA-2vg6-77g8-24mp."""
    token = client.signup()["accessToken"]
    client.me(token)
    change(auth, sa.delete(User))
    assert reason(client, f"Bearer {token}") == "SESSION_REVOKED"


def test_a_disabled_user(client: GraphQLClient, auth: Auth) -> None:
    token = client.signup()["accessToken"]
    client.me(token)
    service.disable_user(auth.runtime, "ada@example.com")
    assert reason(client, f"Bearer {token}") == "ACCOUNT_DISABLED"


def test_a_session_that_never_was(client: GraphQLClient, auth: Auth, clock: Clock) -> None:
    user_id = UUID(client.signup()["user"]["id"])
    token, _ = auth.runtime.tokens.issue(user_id, UUID(int=7), until=clock().replace(year=2030))
    assert reason(client, f"Bearer {token}") == "SESSION_REVOKED"


def test_an_unknown_key_while_the_keys_cannot_be_read(client: GraphQLClient, auth: Auth) -> None:
    """The token is refused and the request goes on: it may be a login with an old token attached."""
    client.signup()
    issuer = forge.mint("ES256")
    change(auth, sa.text("UPDATE signing_keys SET private_key = 'damaged', kid = 'damaged'"))
    assert reason(client, f"Bearer {issuer.issue()}") == "TOKEN_INVALID"
    client.http.headers["authorization"] = f"Bearer {issuer.issue()}"
    assert client.login()["__typename"] == "AuthPayload"


@given(
    st.binary(max_size=60).filter(lambda raw: not {0, 10, 13} & {*raw}),
    st.sampled_from([b"", b"Bearer ", b"bearer "]),
)
@fuzz(50)
def test_any_header_is_refused_without_an_accident(client: GraphQLClient, raw: bytes, scheme: bytes) -> None:
    assert reason(client, scheme + raw) == "TOKEN_INVALID"
