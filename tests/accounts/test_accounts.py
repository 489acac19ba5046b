"""Sign up, log in, me."""

from __future__ import annotations

from tests.support import ME, GraphQLClient


def test_signup_signs_in_and_me_answers(client: GraphQLClient) -> None:
    payload = client.signup(email="Ada@Example.com", name=" Ada ")
    assert payload["__typename"] == "AuthPayload"
    assert payload["tokenType"] == "Bearer"
    assert payload["expiresIn"] == 900
    me = client.me(payload["accessToken"])
    assert me == payload["user"]
    assert (me["email"], me["name"], me["emailVerified"]) == ("Ada@Example.com", "Ada", False)


def test_login_finds_the_account_however_the_address_is_capitalised(client: GraphQLClient) -> None:
    account = client.signup(email="Ada@example.com")["user"]
    assert client.login(email="aDA@EXAMPLE.com")["user"] == account


def test_me_without_a_token_is_unauthenticated(client: GraphQLClient) -> None:
    assert client.refused(ME) == {"code": "UNAUTHENTICATED", "reason": "TOKEN_MISSING"}
