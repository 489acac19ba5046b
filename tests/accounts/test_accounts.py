"""Sign up, log in, me."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gqlauth import Auth
from gqlauth.accounts import service
from tests.live import at_once, serving
from tests.support import LOGIN, PASSWORD, SIGNUP, Clock, GraphQLClient


def refusal(result: dict[str, Any]) -> tuple[str, str | None]:
    """Return the code and the field of a refusal."""
    assert result["__typename"] == "AuthError", result
    assert result["message"]
    assert result["retryAfter"] is None
    return result["code"], result["field"]


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


def test_a_name_may_be_left_out(client: GraphQLClient) -> None:
    variables = {"input": {"email": "ada@example.com", "password": PASSWORD}}
    assert client.execute(SIGNUP, variables)["signup"]["user"]["name"] == ""


EMAILS = {
    "empty": "",
    "no at": "ada.example.com",
    "no domain": "ada@",
    "no dot": "ada@localhost",
    "two at": "ada@@example.com",
    "blank": "ada @example.com",
    "around": " ada@example.com ",
    "line break": "ada@example.com\n",
    "header": "ada@example.com\r\nBcc: eve@example.com",
    "nul": "ada\0@example.com",
    "nul in domain": "ada@exam\0ple.com",
    "right-to-left": "\u202eada@example.com",
    "full-width at": "ada\uff20example.com",  # GHSA-7rqj-j65f-68wh
    "full-width letters": "\uff41da@example.com",
    "ligature": "\ufb01sh@example.com",
    "address literal": "ada@[127.0.0.1]",
    "quoted": '"ada lovelace"@example.com',
    "display name": "Ada <ada@example.com>",
    "255 characters": f"{'a' * 60}@{'.'.join(['b' * 59] * 3)}.{'c' * 10}.com",
    "90 kB": "a" * 90_000 + "@example.com",
}


def test_what_is_no_address_is_refused(client: GraphQLClient) -> None:
    for case, email in EMAILS.items():
        assert refusal(client.signup(email=email)) == ("INVALID_EMAIL", "email"), case
        assert refusal(client.login(email=email)) == ("INVALID_CREDENTIALS", None)


def test_unusual_addresses_are_taken_as_they_are(client: GraphQLClient) -> None:
    for email in ["ada+tag@example.com", "ädä@bücher.example", "\U0001f600@example.com", "a@b.co"]:
        assert client.signup(email=email)["user"]["email"] == email
        assert client.login(email=email)["user"]["email"] == email


SPELLINGS = {
    "ada@example.com": "ADA@EXAMPLE.COM",
    "ädä@bücher.example": "ÄDÄ@BÜCHER.EXAMPLE",
    "ada@bücher.example": "ada@xn--bcher-kva.example",
}


def test_one_address_has_one_account_however_it_is_spelt(client: GraphQLClient) -> None:
    for email, same in SPELLINGS.items():
        account = client.signup(email=email)["user"]
        assert refusal(client.signup(email=same)) == ("EMAIL_TAKEN", "email")
        assert client.login(email=same)["user"] == account


NAMES = {
    "too long": "a" * 201,
    "90 kB": "a" * 90_000,
    "nul": "Ada\0",
    "line break": "Ada\nLovelace",
    "delete": "Ada\x7f",
    "C1": "Ada\x85Lovelace",
    "line separator": "Ada\u2028Lovelace",
    "paragraph separator": "Ada\u2029Lovelace",
}


def test_what_is_no_name_is_refused(client: GraphQLClient) -> None:
    for case, name in NAMES.items():
        assert refusal(client.signup(name=name)) == ("INVALID_INPUT", "name"), case


def test_names_of_all_kinds_are_taken(client: GraphQLClient) -> None:
    names = ["", "a" * 200, "\u0639\u0628\u062f\u0627\u0644\u0644\u0647", "\U0001f469\u200d\U0001f52c", "O'Neill; DROP"]
    for number, name in enumerate(names):
        assert client.signup(email=f"{number}@example.com", name=name)["user"]["name"] == name


PASSWORDS = {
    "short": "x7$kQ2m",
    "long": "x7$kQ2m!" * 32 + "x",
    "90 kB": "x" * 90_000,
    "common": "password1",
    "own address": "ada@example.com",
    "own name": "Ada1815!",
}


def test_a_weak_password_is_refused_and_makes_no_account(client: GraphQLClient) -> None:
    for case, password in PASSWORDS.items():
        assert refusal(client.signup(password=password)) == ("WEAK_PASSWORD", "password"), case
        assert refusal(client.login(password=password)) == ("INVALID_CREDENTIALS", None)


def test_a_password_may_be_made_of_anything(client: GraphQLClient) -> None:
    """ASVS 6.2.5, 6.2.9; NIST SP 800-63B-4 section 3.1.1.2."""
    for number, password in enumerate(["nul\0 inside", "\0" * 8, "\U0001f600" * 64, "  blanks count  ", "e\u0301" * 9]):
        email = f"{number}@example.com"
        client.signup(email=email, password=password)
        assert client.login(email=email, password=password)["__typename"] == "AuthPayload"
        assert refusal(client.login(email=email, password=password + " ")) == ("INVALID_CREDENTIALS", None)


def test_halves_of_characters_are_refused_in_words(client: GraphQLClient) -> None:
    """JSON can spell them; neither UTF-8 nor PostgreSQL can hold them."""
    for document in (SIGNUP, LOGIN):
        for email, password in (("a\ud83d@example.com", PASSWORD), ("ada@example.com", PASSWORD + "\ud83d")):
            body = json.dumps({"query": document, "variables": {"input": {"email": email, "password": password}}})
            answer = client.http.post("/graphql", content=body, headers={"content-type": "application/json"})
            assert answer.status_code < 500
            assert "INTERNAL_ERROR" not in answer.text
        inline = 'mutation { login(input: {email: "ada@example.com", password: "\\ud83d"}) { __typename } }'
        assert "INTERNAL_ERROR" not in client.post(inline).text


def test_every_refused_login_answers_the_same(client: GraphQLClient, auth: Auth) -> None:
    """ASVS 6.3.8: unknown address, wrong password, disabled account."""
    client.signup()
    wrong = client.login(password="not the password")
    assert refusal(wrong) == ("INVALID_CREDENTIALS", None)
    assert client.login(email="eve@example.com") == wrong
    service.disable_user(auth.runtime, "ada@example.com")
    assert client.login() == wrong
    assert client.login(password="not the password") == wrong


def test_an_enabled_account_can_log_in_again(client: GraphQLClient, auth: Auth) -> None:
    token = client.signup()["accessToken"]
    service.disable_user(auth.runtime, "ADA@example.com")
    service.enable_user(auth.runtime, "ada@EXAMPLE.com")
    assert client.login()["__typename"] == "AuthPayload"
    assert client.post("{ me { id } }", token=token).json()["errors"][0]["extensions"]["reason"] == "SESSION_REVOKED"


def test_a_bad_token_harms_neither_signup_nor_login(client: GraphQLClient) -> None:
    """A client that attaches its old token to everything can still get a new one."""
    for number, header in enumerate(
        ["Bearer expired", "Bearer", "Basic YTpi", "", "Bearer a b", "Bearer " + "x" * 8000]
    ):
        client.http.headers["authorization"] = header
        assert client.signup(email=f"{number}@example.com")["__typename"] == "AuthPayload"
        assert client.login(email=f"{number}@example.com")["__typename"] == "AuthPayload"


def test_an_expired_token_harms_neither_signup_nor_login(client: GraphQLClient, clock: Clock) -> None:
    token = client.signup()["accessToken"]
    clock.advance(900)
    for document, email in ((LOGIN, "ada@example.com"), (SIGNUP, "eve@example.com")):
        answer = client.post(document, {"input": {"email": email, "password": PASSWORD}}, token=token).json()
        assert next(iter(answer["data"].values()))["__typename"] == "AuthPayload"


# At the same moment, over sockets


@pytest.mark.parametrize("count", [2, 20])
def test_signups_at_once_with_one_address_make_one_account(auth: Auth, count: int) -> None:
    """ASVS 2.3.3, 2.3.4."""
    spellings = ["ada@example.com", "ADA@example.com", "Ada@Example.COM"]
    with serving(auth) as server:
        results = at_once(count, lambda number: server.signup(spellings[number % 3]))
        assert sorted(result["__typename"] for result in results) == ["AuthError"] * (count - 1) + ["AuthPayload"]
        assert {refusal(result) for result in results if result["__typename"] == "AuthError"} == {
            ("EMAIL_TAKEN", "email")
        }
        (account,) = [result["user"] for result in results if result["__typename"] == "AuthPayload"]
        assert server.login("ada@example.com")["user"] == account
        assert len(service.list_users(auth.runtime)) == 1


def test_a_login_while_the_account_is_disabled_leaves_nobody_in(auth: Auth) -> None:
    """ASVS 7.4.2: whoever is first, no session lives afterwards."""
    with serving(auth) as server:
        server.signup("ada@example.com")
        for _ in range(5):

            def disable_or_login(number: int) -> Any:
                if number == 0:
                    return service.disable_user(auth.runtime, "ada@example.com")
                return server.login("ada@example.com")

            results = at_once(6, disable_or_login)[1:]
            for result in results:
                if result["__typename"] == "AuthPayload":
                    errors = server.me(result["accessToken"])["errors"]
                    assert errors[0]["extensions"]["reason"] == "ACCOUNT_DISABLED"
                else:
                    assert refusal(result) == ("INVALID_CREDENTIALS", None)
            service.enable_user(auth.runtime, "ada@example.com")
            for result in results:
                if result["__typename"] == "AuthPayload":
                    errors = server.me(result["accessToken"])["errors"]
                    assert errors[0]["extensions"]["reason"] == "SESSION_REVOKED"
