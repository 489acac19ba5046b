"""What errors tell: never a value that was sent, nothing of the inside, and no hints where the schema is closed."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
import strawberry
from graphql import GraphQLError
from starlette.applications import Starlette
from starlette.testclient import TestClient
from strawberry.extensions import SchemaExtension

import gqlauth
from gqlauth import Auth, Forbidden, Schema, Settings
from gqlauth.errors import Reason
from gqlauth.guards.placing import guarded
from tests.support import LOGIN, PASSWORD, SIGNUP, GraphQLClient

SECRET = "hunter2hunter2"
NUMBER = 220022002200


@strawberry.enum
class Colour(enum.Enum):
    RED = "red"


@strawberry.input
class Paint:
    colour: Colour = Colour.RED
    secret: str = ""
    count: int = 0
    at: datetime | None = None
    coats: list[str] | None = None


@strawberry.type
class Broken:
    fine: int = 1

    @strawberry.field
    def nullable(self) -> int | None:
        raise KeyError(SECRET)

    @strawberry.field
    def required(self) -> int:
        raise KeyError(SECRET)

    @strawberry.field
    async def later(self) -> int | None:
        raise RuntimeError(SECRET)

    @strawberry.field
    def mistyped(self) -> int | None:
        return SECRET  # type: ignore[return-value]

    @strawberry.field
    def nothing(self) -> int:
        return None  # type: ignore[return-value]


@strawberry.type
class Query(gqlauth.Query):
    @strawberry.field
    def broken(self) -> Broken | None:
        return Broken()

    @strawberry.field
    def many(self) -> list[Broken | None]:
        return [Broken(), Broken()]

    @strawberry.field
    def painted(self, paint: Paint, coat: int = 1) -> str:
        return "painted"

    @strawberry.field
    def refused(self) -> int | None:
        raise GraphQLError("The host's own words: found 3.", extensions={"code": "HOST"})

    @strawberry.field
    def forbidden(self) -> int | None:
        raise Forbidden(Reason.ACCOUNT_DISABLED)

    @strawberry.field(extensions=guarded())
    def guarded(self) -> int | None:
        return 1


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def tick(self) -> AsyncIterator[int]:
        yield 1


class Plain(SchemaExtension):
    """An extension of a host's, which brings in Strawberry's own execution."""


@pytest.fixture(scope="module", params=[True, False], ids=["open", "closed"])
def introspection(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module", params=[(), (Plain,)], ids=["fast", "with extensions"])
def host(
    request: pytest.FixtureRequest, introspection: bool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    """A client of a host's own schema. Nothing here touches the database."""
    url = f"sqlite:///{tmp_path_factory.mktemp('host')}/test.db"
    auth = Auth(Settings(environment="test", bcrypt_cost=4, database_url=url, introspection=introspection))
    schema = Schema(Query, gqlauth.Mutation, Subscription, extensions=request.param)
    app = Starlette(routes=auth.routes(schema), lifespan=auth.lifespan)
    with TestClient(app, headers={"accept": "application/graphql-response+json"}) as client:
        yield client


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level("DEBUG", "gqlauth")
    return caplog


def ask(client: TestClient, query: str, variables: Any = None, **members: Any) -> tuple[int, dict[str, Any]]:
    """Return status and body of an answer."""
    response = client.post("/graphql", json={"query": query, "variables": variables, **members})
    return response.status_code, response.json()


# Values that were sent

LITERALS = [
    '{ login(input: {email: "a@b.co", password: %s}) { __typename } }',
    '{ signup(input: {email: "a@b.co", password: %s}) { __typename } }',
    "{ login(input: %s) { __typename } }",
    '($p: String! = %s) { login(input: {email: "a@b.co", password: $p}) { __typename } }',
]
VALUES = [str(NUMBER), f"{NUMBER}.5", f'["{SECRET}"]', f'{{a: "{SECRET}"}}', SECRET, f'["{SECRET}", {NUMBER}]']


@pytest.mark.parametrize("literal", LITERALS)
@pytest.mark.parametrize("value", VALUES)
def test_a_literal_of_the_wrong_type_is_not_quoted(
    host: TestClient, log: pytest.LogCaptureFixture, literal: str, value: str
) -> None:
    """ASVS 16.2.5, 16.5.1."""
    status, answer = ask(host, f"mutation {literal.replace('%s', value)}")
    assert status == 400
    check_told_nothing(answer, log)


@pytest.mark.parametrize("document", [LOGIN, SIGNUP])
@pytest.mark.parametrize("value", [NUMBER, NUMBER + 0.5, [SECRET], {"a": SECRET}, {SECRET: [NUMBER]}])
def test_a_variable_of_the_wrong_type_is_not_quoted(
    host: TestClient, log: pytest.LogCaptureFixture, document: str, value: Any
) -> None:
    status, answer = ask(host, document, {"input": {"email": "a@b.co", "password": value}})
    assert status == 400
    assert answer["errors"][0]["message"] == (
        "Variable '$input' has invalid value at .password: String cannot represent a non string value."
    )
    check_told_nothing(answer, log)


@pytest.mark.parametrize(
    "value",
    [
        SECRET,
        [SECRET],
        {"email": "a@b.co", "passwor": SECRET},
        {"email": "a@b.co", "password": SECRET, "passwort": SECRET},
        {"email": None, "password": SECRET},
    ],
)
def test_an_input_of_the_wrong_shape_is_not_quoted(host: TestClient, log: pytest.LogCaptureFixture, value: Any) -> None:
    status, answer = ask(host, LOGIN, {"input": value})
    assert status == 400
    check_told_nothing(answer, log)


TAILS = [f'"{SECRET}"', f'"{SECRET}" "{SECRET}"', f'"{SECRET}\\q"', f'"{SECRET}', f"{NUMBER} {NUMBER}"]


@pytest.mark.parametrize("tail", TAILS)
def test_a_syntax_error_does_not_quote_a_value(host: TestClient, log: pytest.LogCaptureFixture, tail: str) -> None:
    query = f'mutation {{ login(input: {{email: "a@b.co", password: "" {tail}}}) {{ __typename }} }}'
    status, answer = ask(host, query)
    assert status == 400
    check_told_nothing(answer, log)


def check_told_nothing(answer: dict[str, Any], log: pytest.LogCaptureFixture) -> None:
    assert list(answer) == ["errors"]
    for text in (json.dumps(answer), log.text):
        assert SECRET not in text
        assert str(NUMBER) not in text


@pytest.mark.parametrize(
    ("paint", "message"),
    [
        ("{secret: 1}", "Invalid value at .secret: String cannot represent a non string value."),
        ("{count: 9999999999}", "Invalid value at .count: Int cannot represent non 32-bit signed integer value."),
        ("{colour: 7}", "Invalid value at .colour: Enum 'Colour' cannot represent non-enum value."),
        ('{at: "today"}', "Invalid value at .at: Value cannot represent a DateTime."),
        ('{coats: ["a", 5]}', "Invalid value at .coats[1]: String cannot represent a non string value."),
        ("5", "Invalid value: Expected value of type 'Paint' to be an object."),
        ("{secret: null}", "Invalid value at .secret: Expected value of non-null type 'String!' not to be None."),
        ("{where: 5}", "Invalid value: Expected value of type 'Paint' not to include unknown field 'where'."),
    ],
)
def test_the_error_names_the_field_and_the_type_all_the_same(host: TestClient, paint: str, message: str) -> None:
    _, answer = ask(host, f"{{ painted(paint: {paint}) }}")
    assert answer["errors"][0]["message"] == message
    assert answer["errors"][0]["locations"][0]["line"] == 1


def test_at_most_three_errors_of_variables_are_reported(host: TestClient) -> None:
    coats = {"paint": {"coats": list(range(50))}}
    _, answer = ask(host, "query ($paint: Paint!) { painted(paint: $paint) }", coats)
    assert len(answer["errors"]) == 3


# Suggestions

MISSPELT = [
    ("{ paintd(paint: {}) }", None),
    ("{ painted(paint: {}, coats: 1) }", None),
    ("{ painted(paint: {color: RED}) }", None),
    ("{ painted(paint: {colour: REDD}) }", None),
    ("query ($p: Pain!) { painted(paint: $p) }", None),
    ("{ ... on Quer { painted(paint: {}) } }", None),
    ("query ($p: Paint!) { painted(paint: $p) }", {"p": {"color": "RED"}}),
    ("query ($p: Paint!) { painted(paint: $p) }", {"p": {"colour": "REDD"}}),
    ("query ($p: Colour!) { painted(paint: {colour: $p}) }", {"p": "REDD"}),
]


@pytest.mark.parametrize(("query", "variables"), MISSPELT)
def test_suggestions_are_open_and_closed_with_introspection(
    host: TestClient, introspection: bool, query: str, variables: dict[str, Any] | None
) -> None:
    """ASVS 4.3.2; GHSA-8cph-rgr4-g5vj, GHSA-9g8f-h8f3-hjcm: "Did you mean" told the schema with introspection off."""
    status, answer = ask(host, query, variables)
    assert status == 400
    assert ("Did you mean" in json.dumps(answer)) == introspection


# What is unexpected


@pytest.mark.parametrize(
    ("query", "data", "path"),
    [
        ("{ broken { fine nullable } }", {"broken": {"fine": 1, "nullable": None}}, ["broken", "nullable"]),
        ("{ broken { fine required } }", {"broken": None}, ["broken", "required"]),
        ("{ broken { fine later } }", {"broken": {"fine": 1, "later": None}}, ["broken", "later"]),
        ("{ broken { fine mistyped } }", {"broken": {"fine": 1, "mistyped": None}}, ["broken", "mistyped"]),
        ("{ broken { fine nothing } }", {"broken": None}, ["broken", "nothing"]),
    ],
)
def test_an_unexpected_error_is_an_id_that_is_also_in_the_log(
    host: TestClient, log: pytest.LogCaptureFixture, query: str, data: dict[str, Any], path: list[str]
) -> None:
    """ASVS 16.5.1, 16.5.4."""
    status, answer = ask(host, query)
    [error] = answer["errors"]
    error_id = error["extensions"]["id"]
    assert status == 200
    assert answer["data"] == data
    assert error == {
        "message": "Something went wrong on our side.",
        "locations": error["locations"],
        "path": path,
        "extensions": {"code": "INTERNAL_ERROR", "id": error_id},
    }
    assert SECRET not in json.dumps(answer)
    [record] = log.records
    assert f"id={error_id}" in record.getMessage()
    assert record.exc_info


def test_each_unexpected_error_has_an_id_of_its_own(host: TestClient, log: pytest.LogCaptureFixture) -> None:
    _, answer = ask(host, "{ many { required } }")
    assert answer["data"] == {"many": [None, None]}
    assert len({error["extensions"]["id"] for error in answer["errors"]}) == 2
    assert len(log.records) == 2


@pytest.mark.parametrize(
    ("query", "extensions"),
    [
        ("{ refused }", {"code": "HOST"}),
        ("{ forbidden }", {"code": "FORBIDDEN", "reason": "ACCOUNT_DISABLED"}),
        ("{ guarded }", {"code": "UNAUTHENTICATED", "reason": "TOKEN_MISSING"}),
        ("{ me { id } }", {"code": "UNAUTHENTICATED", "reason": "TOKEN_MISSING"}),
    ],
)
def test_a_refusal_is_told_and_leaves_no_traceback_in_the_log(
    host: TestClient, log: pytest.LogCaptureFixture, query: str, extensions: dict[str, str]
) -> None:
    _, answer = ask(host, query)
    assert answer["errors"][0]["extensions"] == extensions
    assert not any(record.exc_info for record in log.records)
    assert "Traceback" not in log.text


def test_a_hosts_own_error_keeps_its_words(host: TestClient) -> None:
    assert ask(host, "{ refused }")[1]["errors"][0]["message"] == "The host's own words: found 3."


@pytest.mark.parametrize(
    ("query", "members"),
    [
        ("subscription { tick }", {}),
        ("query A { __typename } subscription B { tick }", {"operationName": "B"}),
        ("query A { __typename } query B { __typename }", {}),
        ("query A { __typename }", {"operationName": "B"}),
        ("fragment F on Query { __typename }", {}),
        ("type T { a: Int }", {}),
        ("{ __typename } extend type Query { a: Int }", {}),
        ("#", {}),
    ],
)
def test_an_operation_that_is_not_served_here_is_the_clients_error(
    host: TestClient, log: pytest.LogCaptureFixture, query: str, members: dict[str, Any]
) -> None:
    status, answer = ask(host, query, **members)
    assert (status, list(answer)) == (400, ["errors"])
    assert log.records == []


def test_the_log_holds_one_line_for_each_error_without_what_was_sent(
    log: pytest.LogCaptureFixture, client: GraphQLClient
) -> None:
    client.login("nobody@example.com", SECRET)
    assert re.fullmatch(r"login_failed [^\n]*reason=INVALID_CREDENTIALS[^\n]*", log.messages[0])
    assert SECRET not in log.text


def test_a_database_error_is_logged_without_what_was_sent(
    auth: Auth, client: GraphQLClient, log: pytest.LogCaptureFixture
) -> None:
    """ASVS 16.2.5: SQLAlchemy's errors would quote the parameters of the statement."""
    with auth.runtime.database.transaction() as db:
        db.execute(sa.text("ALTER TABLE sessions RENAME COLUMN user_agent TO agent"))
    answer = client.post(SIGNUP, {"input": {"email": "ada@example.com", "password": PASSWORD}}).json()
    assert answer["errors"][0]["extensions"]["code"] == "INTERNAL_ERROR"
    assert "user_agent" in log.text
    for secret in ("ada@example.com", PASSWORD, "bcrypt-sha384$"):
        assert secret not in log.text
    assert "parameters: (" not in log.text
    assert "parameters: {" not in log.text
