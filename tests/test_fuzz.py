"""Whatever comes in: never a 5xx, never an internal error, never a word of the inside.

Some hundreds of requests by default; `GQLAUTH_NIGHTLY=1` sends some hundred thousand (see `tests/fuzz.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import strawberry
from httpx2 import Response
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.testclient import TestClient
from strawberry.extensions import SchemaExtension

import gqlauth
from gqlauth import Auth, AuthErrorCode, Schema, Settings
from tests import support
from tests.fuzz import NIGHTLY, fuzz
from tests.support import PASSWORD

EMAIL = "ada@example.com"
JSON_TYPE = (b"content-type", b"application/json")
OPERATIONS = [
    support.SIGNUP,
    support.LOGIN,
    support.REFRESH,
    support.REVOKE,
    support.UPDATE_PROFILE,
    support.CHANGE_PASSWORD,
    support.DELETE_ACCOUNT,
    support.SESSIONS,
    support.LOGOUT,
    support.ME,
]
INSIDE = re.compile(r"INTERNAL_ERROR|Traceback|Error\(|sqlalchemy|sqlite|SELECT |INSERT |gqlauth/|\.py\b")


@strawberry.input
class Numbers:
    whole: int = 0
    real: float = 0.0
    id: strawberry.ID = strawberry.ID("")
    more: list[int] | None = None


@strawberry.type
class Query(gqlauth.Query):
    @strawberry.field
    def count(self, numbers: Numbers | None = None, whole: int = 0, real: float = 0.0) -> str:
        return "counted"


class Target:
    """A server with an account, and how it is attacked."""

    def __init__(self, http: TestClient) -> None:
        self.http = http
        self.access_token = self.refresh_token = ""

    def sign_in(self) -> None:
        """Make sure that there is an account, and hold tokens that count."""
        client = support.GraphQLClient(self.http)
        payload = client.login(EMAIL)
        if payload["__typename"] == "AuthError":
            payload = client.signup(EMAIL)
        self.access_token, self.refresh_token = payload["accessToken"], payload["refreshToken"]

    def send(self, body: bytes, headers: list[tuple[bytes, bytes]] | None = None, token: str = "") -> Response:
        """Send one request, and check what holds for every answer."""
        named = [JSON_TYPE] if headers is None else headers
        if token:
            named = [*named, (b"authorization", f"Bearer {token}".encode())]
        # What one answer sets must not change the next request.
        self.http.cookies.clear()
        response: Response = self.http.post("/graphql", content=body, headers=named)
        assert response.status_code in (200, 400, 406, 413, 415, 431), response.text
        assert not INSIDE.search(response.text), response.text
        assert set(response.json()) <= {"data", "errors"}
        return response

    def ask(self, query: str, variables: Any = None, token: str = "") -> dict[str, Any]:
        """Send one document; return the answer's data, or nothing where it was no document or no variables."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        data: dict[str, Any] = self.send(body, token=token).json().get("data") or {}
        return data


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    auth = Auth(
        Settings(
            environment="test",
            bcrypt_cost=4,
            database_url=f"sqlite:///{tmp_path_factory.mktemp('fuzz')}/test.db",
            # Hundreds of guesses in a second would be answered RATE_LIMITED, and show less.
            rate_limits=False,
            trusted_proxies=("127.0.0.1",),
            max_body_bytes=20_000_000,
        )
    )
    app = Starlette(routes=auth.routes(Schema(Query, gqlauth.Mutation)), lifespan=auth.lifespan)
    with TestClient(app, headers={"accept": "application/json"}, client=("127.0.0.1", 1)) as http:
        yield Target(http)


# What is sent

ODD = "\x00\x01\r\n\t \"'\\{}$:@.,;=%_-/<>&\x7f\x85\xa0\u00ad\u200b\u202e\u2066\u2028\ufeff"
ODD += "\uff20\uff0e\u2100\u0130\u0345İßﬁ\ud800\udfff\U0001f600"
KNOWN = [EMAIL, PASSWORD, "true", "1e999", "' OR 1=1 --", "../../etc/passwd", "%00", "{{7*7}}"]
texts = (
    st.text(max_size=60)
    | st.text(alphabet=ODD + "aA1", max_size=40)
    | st.text(alphabet=ODD, min_size=1, max_size=3).map(lambda part: (part * 400)[:300])
    | st.sampled_from(KNOWN)
)
numbers = st.integers() | st.floats() | st.sampled_from([10**400, -(2**31) - 1, 2**63])
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))

AT_SIGNS = ["@", "\uff20", "\ufe6b", "@@", "@\u202e", "\x00@", '"@"@', ""]
DOMAINS = ["example.com", "EXAMPLE.com", "xn--mnchen-3ya.de", "münchen.de", "[127.0.0.1]", "a.test", "例え.jp", "℀.com"]
local_parts = st.text(max_size=30) | st.text(alphabet=ODD + "abc.+", max_size=30) | st.just("ada")
domains = st.sampled_from(DOMAINS) | texts
addresses = texts | st.builds("{}{}{}".format, local_parts, st.sampled_from(AT_SIGNS), domains)

HEADERS = b"""
    authorization cookie accept content-type x-forwarded-for x-forwarded-proto forwarded origin host user-agent
    sec-fetch-site content-encoding accept-language x-filler content-length
""".split()
WORDS = rb"""
    * / json application text/html q= = ; , " \ %00 [ ] ::1 1.2.3.4 http:// https://[ null localhost : utf-8 charset= -1
    nan gqlauth-access= gqlauth-refresh= gqlauth-device= __Host-gqlauth-access= Bearer for= unknown
""".split()
WORDS += [b" ", b"\t", b"\xff", b"\xc3\xa9", b"9" * 400, b"x" * 300]
header_values = st.lists(st.sampled_from(WORDS) | st.binary(max_size=8), max_size=8).map(b"".join)
headers = st.lists(st.tuples(st.sampled_from(HEADERS), header_values), max_size=5)

LITERALS = ["0x1", "1.", "-0", "00", "1e99999", "$a", "null", "true", "RED", "[[[]]]", "{a: {b: 1}}", "[1, [2]]"]
LITERALS += ["[null]", "{whole: 1e3}", "{id: -1}"]
LITERALS += ["9" * 5_000, "-" + "9" * 400, "{real: " + "9" * 400 + "}", '"\n"', '"""\\"""\x00"""']
LITERALS += [r'"\u{D800}"', r'"\uD800\uDC00"', r'"\uD83D\uDE00"', r'"\u{110000}"', r'"\u0000"']
PUNCTUATION = "{}()[]:!$@|&=#\"'.,… \n\x00aA1"
SLOTS = [
    "{ count(whole: %s) }",
    "{ count(real: %s) }",
    "{ count(numbers: %s) }",
    "{ count(numbers: {whole: %s}) }",
    "query ($a: Int = %s) { count(whole: $a) }",
    "query ($a: [Numbers!]! = %s) { __typename }",
    "{ __typename @skip(if: %s) }",
    "mutation { revokeSession(id: %s) }",
    "mutation { login(input: {email: %s, password: %s}) { __typename } }",
    "mutation { refreshToken(refreshToken: %s) { __typename } }",
]
literals = st.sampled_from(LITERALS) | values.map(json.dumps) | texts


@st.composite
def damaged(draw: st.DrawFn, text: str, odd: str = ODD + "aA0_-.=") -> str:
    """Return the text with a few pieces left out, doubled, turned round or replaced."""
    for _ in range(draw(st.integers(1, 4))):
        begin, end = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        piece = text[begin:end]
        other = draw(st.sampled_from(["", piece * 2, piece[::-1], piece.upper()]) | st.text(alphabet=odd, max_size=5))
        text = text[:begin] + other + text[end:]
    return text


# What must not happen


@fuzz(150)
@given(headers=headers, query=st.sampled_from(OPERATIONS))
def test_no_header_is_an_error_on_our_side(target: Target, headers: list[tuple[bytes, bytes]], query: str) -> None:
    """ASVS 16.5.1, 16.5.4."""
    variables = {"input": {"email": EMAIL, "password": PASSWORD}, "token": "", "id": "1", "password": ""}
    body = json.dumps({"query": query, "variables": variables}).encode()
    target.sign_in()
    target.send(body, [*headers, JSON_TYPE], target.access_token)
    target.send(body, headers)


@fuzz(150)
@given(query=st.sampled_from(OPERATIONS), data=st.data())
def test_no_variable_is_an_error_on_our_side(target: Target, query: str, data: st.DataObject) -> None:
    target.sign_in()
    fields = st.sampled_from(["email", "password", "name", "useCookies", "currentPassword", "newPassword"]) | texts
    inputs = st.dictionaries(fields, texts | values, max_size=5) | values
    anything = texts | values
    whole = st.fixed_dictionaries({"input": inputs, "token": anything, "id": anything, "password": anything})
    variables = data.draw(whole | st.dictionaries(texts, values, max_size=3))
    for token in ("", target.access_token):
        target.ask(query, variables, token)


@pytest.mark.parametrize("name", ["İ", "useCookiesİ", "ßemail"])
def test_a_name_with_a_letter_that_is_two_in_lower_case_is_unknown_like_any_other(target: Target, name: str) -> None:
    """graphql-core fails with an IndexError where it would suggest a name instead."""
    body = json.dumps({"query": support.LOGIN, "variables": {"input": {name: "", "email": "", "password": ""}}})
    # The second time by the plan that the first one has made.
    for _ in range(2):
        assert "not to include unknown field" in target.send(body.encode()).json()["errors"][0]["message"]
        target.ask(support.LOGIN, {"input": {"email": "", "password": ""}})


@fuzz(200)
@given(slot=st.sampled_from(SLOTS), literal=literals)
def test_no_literal_is_an_error_on_our_side(target: Target, slot: str, literal: str) -> None:
    target.ask(slot.replace("%s", literal))


@fuzz(200)
@given(
    query=st.sampled_from([*OPERATIONS, *SLOTS]).flatmap(lambda query: damaged(query, "{}()[]:!$@|&=#\"'.,… \n\x00aA1"))
)
def test_no_damaged_document_is_an_error_on_our_side(target: Target, query: str) -> None:
    target.ask(query, {"input": {}})


@fuzz(100)
@given(query=st.sampled_from(OPERATIONS), data=st.data())
def test_no_damaged_body_is_an_error_on_our_side(target: Target, query: str, data: st.DataObject) -> None:
    body = json.dumps({"query": query, "variables": {"input": {"email": EMAIL}}, "operationName": "Me"})
    target.send(data.draw(damaged(body)).encode("utf-8", "surrogatepass"))


@fuzz(60)
@given(data=st.data())
def test_no_damaged_token_opens_anything(target: Target, data: st.DataObject) -> None:
    """Both kinds, as a bearer token, as a variable and in a cookie. ASVS 9.1.1."""
    target.sign_in()
    access, refresh = data.draw(damaged(target.access_token)), data.draw(damaged(target.refresh_token))
    me = json.dumps({"query": support.ME}).encode()
    for token in (access, refresh, target.refresh_token):
        sent = token.encode("utf-8", "replace")
        # Blanks around a token are no part of it.
        if sent.strip(b" ") != target.access_token.encode():
            assert target.send(me, [JSON_TYPE, (b"authorization", b"Bearer " + sent)]).json()["data"] is None
    for token in (refresh, access, target.access_token):
        if token != target.refresh_token:
            answer = target.ask(support.REFRESH, {"token": token})
            assert answer == {} or answer["refreshToken"]["code"] == "INVALID_TOKEN"
    cookie = f"gqlauth-access={access}; gqlauth-refresh={refresh}".encode("utf-8", "replace")
    origin = [(b"host", b"localhost"), (b"origin", b"http://localhost")]
    target.send(json.dumps({"query": support.REFRESH}).encode(), [JSON_TYPE, (b"cookie", cookie), *origin])


@fuzz(120)
@given(email=addresses, password=texts, name=texts)
def test_who_can_sign_up_can_log_in_and_has_the_address_alone(
    target: Target, email: str, password: str, name: str
) -> None:
    account = {"email": email, "password": password}
    answer = target.ask(support.SIGNUP, {"input": {**account, "name": name}})
    if not answer:
        assert re.search("[\ud800-\udfff]", email + password + name), "only half a character is no text"
        return
    result, back = answer["signup"], target.ask(support.LOGIN, {"input": account})["login"]
    if result["__typename"] == "AuthPayload":
        assert back["user"] == result["user"]
        again = target.ask(support.SIGNUP, {"input": {**account, "email": email.upper()}})["signup"]
        assert again["code"] in ("EMAIL_TAKEN", "INVALID_EMAIL")
    else:
        assert result["code"] in AuthErrorCode.__members__
        assert back["__typename"] == "AuthPayload" or back["code"] == "INVALID_CREDENTIALS"


@pytest.mark.parametrize("letter", "a@.\x00\u202e\uff20é\ufdfa\U0001f600 \u0345")
def test_a_megabyte_of_anything_is_refused_like_anything_else(target: Target, letter: str) -> None:
    """ASVS 13.1.3: lengths are looked at before anything that costs."""
    target.sign_in()
    much = f"b{letter * 1_000_000}b"
    for email, password, name in ((much, "", ""), (EMAIL, much, ""), ("new@example.com", PASSWORD, much)):
        account = {"email": email, "password": password}
        signup = target.ask(support.SIGNUP, {"input": {**account, "name": name}})["signup"]
        assert signup["code"] in ("INVALID_EMAIL", "WEAK_PASSWORD", "INVALID_INPUT")
        assert target.ask(support.LOGIN, {"input": account})["login"]["code"] == "INVALID_CREDENTIALS"
    for query, variables in (
        (support.UPDATE_PROFILE, {"input": {"name": much}}),
        (support.CHANGE_PASSWORD, {"input": {"currentPassword": PASSWORD, "newPassword": much}}),
        (support.DELETE_ACCOUNT, {"password": much}),
        (support.REFRESH, {"token": much}),
        (support.REVOKE, {"id": much}),
    ):
        [result] = target.ask(query, variables, target.access_token).values()
        assert result is False or result["__typename"] == "AuthError"


# Introspection closed: no hint at a name that was not asked for

CLOSED_SLOTS = [
    "{ %s }",
    "{ me { %s } }",
    "{ me(%s: 1) { id } }",
    "mutation { %s }",
    "mutation { login(%s: 1) { __typename } }",
    'mutation { login(input: {%s: 1, email: "a", password: ""}) { __typename } }',
    'mutation { login(input: {email: "a", password: ""}) { ... on AuthError { %s } } }',
    "query ($a: %s) { __typename }",
    "{ ... on %s { __typename } }",
    "{ me { ... on %s { id } } }",
    "{ __typename @%s }",
    "{ __typename @skip(%s: true) }",
    "extend type %s { a: Int }",
    "subscription { %s }",
]
INCOMPLETE = [
    "{ me }",
    "{ sessions }",
    "mutation { login }",
    'mutation { login(input: {email: "a", password: ""}) }',
    'mutation { login(input: {email: "a", password: ""}) { code } }',
]


@pytest.mark.parametrize("extensions", [(), (SchemaExtension,)], ids=["fast", "with extensions"])
def test_a_closed_schema_gives_no_hint(tmp_path_factory: pytest.TempPathFactory, extensions: Any) -> None:
    """ASVS 4.3.2; GHSA-9g8f-h8f3-hjcm: every name of ours without its last letter, in every place of a document."""
    url = f"sqlite:///{tmp_path_factory.mktemp('closed')}/test.db"
    auth = Auth(Settings(environment="test", bcrypt_cost=4, database_url=url, introspection=False))
    schema = Schema(gqlauth.Query, gqlauth.Mutation, extensions=extensions)
    bare = re.sub(r'""".*?"""', "", schema.as_str(), flags=re.DOTALL)
    names = ["skip", "include", *sorted(set(re.findall(r"\w{3,}", bare)))]
    assert {"emailVerified", "SignupInput", "refreshToken", "RATE_LIMITED"} <= set(names)
    some = names if NIGHTLY else names[:: 6 if extensions else 2]
    queries = INCOMPLETE + [slot.replace("%s", name[:-1]) for slot in CLOSED_SLOTS for name in some]
    asked = [(query, None) for query in queries] + [(support.LOGIN, {"input": {name[:-1]: 1}}) for name in names]
    app = Starlette(routes=auth.routes(schema), lifespan=auth.lifespan)
    with TestClient(app) as http:
        for query, variables in asked:
            response = Target(http).send(json.dumps({"query": query, "variables": variables}).encode())
            assert "errors" in response.json(), query
            assert "Did you mean" not in response.text, query
