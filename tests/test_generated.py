"""Documents, bodies and texts that nobody thought of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.testclient import TestClient

from gqlauth import Auth, AuthErrorCode, Settings
from gqlauth.app import create_schema
from tests.fuzz import fuzz
from tests.support import LOGIN, SIGNUP

WORDS = """
    me id email name emailVerified createdAt signup login user accessToken input password code message __typename
    __schema __type types fields AuthPayload AuthError User Query Mutation String Boolean include skip if on true null
    query mutation subscription fragment F a b
"""
NAMES = st.sampled_from(re.findall(r"\w+", WORDS))
PUNCTUATION = st.sampled_from(re.findall(r"\.+|\S", '{ } ( ) [ ] : ! $ ... @ = | & " #'))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=30)
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
)


def selections(names: st.SearchStrategy[str], depth: int = 3) -> st.SearchStrategy[str]:
    """Return selection sets: fields, aliases, arguments, directives and fragments, nested."""
    inner = selections(names, depth - 1) if depth else st.just("")
    argument = st.sampled_from(["", "(input: $v)", "(input: {})", "(a: 1)", '(input: {email: "a", password: "b"})'])
    directive = st.sampled_from(["", " @include(if: $b)", " @skip(if: true)", " @nothing"])
    field = st.builds("{}{}{}{} {}".format, st.sampled_from(["", "a: ", "b: "]), names, argument, directive, inner)
    spread = st.sampled_from(["...F", "... on User { id }", "... on AuthPayload { user { id } }", "... { __typename }"])
    return st.lists(field | spread, min_size=1, max_size=4).map(lambda parts: "{ " + " ".join(parts) + " }")


DOCUMENTS = st.one_of(
    st.text(max_size=200),
    st.lists(NAMES | PUNCTUATION | st.text(max_size=5), max_size=60).map(" ".join),
    st.builds(
        "{} ($v: {}, $b: Boolean = true) {} fragment F on {} {}".format,
        st.sampled_from(["query", "mutation", "subscription"]),
        st.sampled_from(["LoginInput!", "SignupInput", "String", "[Int]", "User"]),
        selections(NAMES),
        st.sampled_from(["Query", "Mutation", "User", "LoginResult", "String"]),
        selections(NAMES, 1),
    ),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of the server's own schema."""
    url = f"sqlite:///{tmp_path_factory.mktemp('generated')}/test.db"
    # Hundreds of documents in a second would be answered RATE_LIMITED, and show less.
    auth = Auth(Settings(environment="test", bcrypt_cost=4, database_url=url, rate_limits=False))
    app = Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan)
    with TestClient(app, headers={"accept": "application/graphql-response+json"}) as client:
        yield client


@fuzz(200)
@given(query=DOCUMENTS, variables=st.none() | st.dictionaries(st.sampled_from("vbx"), JSON, max_size=3))
def test_no_document_is_an_error_on_our_side(server: TestClient, query: str, variables: dict[str, Any] | None) -> None:
    """ASVS 16.5.4: whatever comes in, it is never a 5xx and never an internal error."""
    response = server.post("/graphql", json={"query": query, "variables": variables})
    assert response.status_code in (200, 400)
    assert "INTERNAL_ERROR" not in response.text


@fuzz(150)
@given(body=st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_body_is_an_error_on_our_side(server: TestClient, body: bytes) -> None:
    """ASVS 16.5.4."""
    response = server.post("/graphql", content=body, headers={"content-type": "application/json"})
    assert response.status_code in (200, 400)


TEXTS = st.text(max_size=300) | st.text(alphabet="\x00\u202e@\uff20.aÀ\ufeff\U0001f600 \r\n", max_size=40)


@fuzz(60)
@given(email=TEXTS, password=TEXTS, name=TEXTS)
def test_no_text_is_an_error_on_our_side(server: TestClient, email: str, password: str, name: str) -> None:
    for document, more in ((SIGNUP, {"name": name}), (LOGIN, {})):
        variables = {"input": {"email": email, "password": password, **more}}
        answer = server.post("/graphql", json={"query": document, "variables": variables}).json()
        assert "errors" not in answer
        [result] = answer["data"].values()
        assert result["__typename"] == "AuthPayload" or result["code"] in AuthErrorCode.__members__
