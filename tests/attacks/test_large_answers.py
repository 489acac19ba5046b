"""An answer has a largest size, and is refused in plain words before it is built where that can be known."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import strawberry
from graphql import get_introspection_query
from starlette.applications import Starlette
from starlette.testclient import TestClient
from strawberry.extensions import SchemaExtension

from gqlauth import Auth, Limits, Schema, Settings
from gqlauth.app import create_app
from gqlauth.testing.client import GraphQLClient as Kit
from tests.support import GraphQLClient

LIMIT = 10_000
REFUSAL = {
    "message": f"The answer is over the limit of {LIMIT} bytes. Select fewer fields, or ask for fewer items at once.",
    "extensions": {"code": "ANSWER_TOO_LARGE"},
}

# How many items have been looked into.
looked_into: list[int] = []


@strawberry.interface
class Numbered:
    number: int


@strawberry.type
class Item(Numbered):
    @strawberry.field
    def text(self) -> str:
        looked_into.append(self.number)
        return "text"

    @strawberry.field
    def items(self, count: int) -> list[Item]:
        return made(count)


def made(count: int) -> list[Item]:
    return [Item(number=n) for n in range(count)]


@strawberry.type
class Lists:
    @strawberry.field
    def items(self, count: int) -> list[Item]:
        return made(count)

    @strawberry.field
    async def items_later(self, count: int) -> list[Item]:
        await asyncio.sleep(0)
        return made(count)

    @strawberry.field
    def numbered(self, count: int) -> list[Numbered]:
        return list(made(count))

    @strawberry.field
    def maybe(self, count: int) -> list[Item | None]:
        return [None] * count

    @strawberry.field
    def numbers(self, count: int) -> list[int]:
        return [1] * count

    @strawberry.field
    def endless(self) -> list[Item]:
        def generate() -> Iterator[Item]:
            number = 0
            while True:
                number += 1
                yield Item(number=number)

        return generate()  # type: ignore[return-value]

    @strawberry.field
    async def endless_later(self) -> list[Item]:
        async def generate() -> AsyncIterator[Item]:
            number = 0
            while True:
                number += 1
                yield Item(number=number)

        return generate()  # type: ignore[return-value]

    @strawberry.field
    def long(self, count: int) -> str:
        return "x" * count


@strawberry.type
class Query(Lists):
    pass


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def lists(self) -> AsyncIterator[Lists]:
        for _ in range(3):
            yield Lists()


class Plain(SchemaExtension):
    """An extension of a host's, which brings in Strawberry's own execution."""


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('host')}/test.db"


def serving(schema: strawberry.Schema, url: str, max_answer_bytes: int | None) -> TestClient:
    auth = Auth(Settings(environment="test", database_url=url, max_answer_bytes=max_answer_bytes))
    return TestClient(Starlette(routes=auth.routes(schema), lifespan=auth.lifespan))


@pytest.fixture(scope="module", params=[(), (Plain,)], ids=["plain", "with extensions"])
def host(request: pytest.FixtureRequest, database_url: str) -> Iterator[TestClient]:
    """A client of a host's own schema, with a limit on answers."""
    schema = Schema(Query, None, Subscription, extensions=request.param)
    with serving(schema, database_url, LIMIT) as client:
        yield client


def ask(client: TestClient, query: str, **members: Any) -> dict[str, Any]:
    """Ask three times, by graphql-core's executor and by a plan, and return the one answer."""
    answers = [client.post("/graphql", json={"query": query, **members}).json() for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    return dict(answers[0])


TOO_LARGE = [
    "{ items(count: 500) { number text } }",
    "{ itemsLater(count: 500) { number text } }",
    "{ numbered(count: 500) { number ... on Item { text } } }",
    "{ items(count: 500) { ...F } } fragment F on Item { ... { text number } }",
    "{ " + " ".join(f"a{n}: itemsLater(count: 100) {{ number text }}" for n in range(20)) + " }",
]


@pytest.mark.parametrize("query", TOO_LARGE)
def test_a_list_that_would_be_too_large_is_refused_before_it_is_built(host: TestClient, query: str) -> None:
    """ASVS 13.1.3: twenty aliases of a long list were 26 MB, and 3.6 seconds of work that nobody else got."""
    looked_into.clear()
    assert ask(host, query) == {"errors": [REFUSAL], "data": None}
    # Three requests; each item takes 24 bytes at least.
    assert len(looked_into) <= 3 * LIMIT / 24
    if "a1:" not in query:
        assert looked_into == []


@pytest.mark.parametrize(
    "query",
    [
        "{ endless { number } }",
        "{ endlessLater { number } }",
        "{ numbers(count: 6000) }",
        "{ maybe(count: 3000) { number } }",
        "{ items(count: 100) { items(count: 100) { number } } }",
        "{ long(count: 10000) }",
        "{ " + " ".join(f"a{n}: long(count: 1000)" for n in range(11)) + " }",
    ],
)
def test_an_answer_that_turns_out_too_large_is_refused(host: TestClient, query: str) -> None:
    assert ask(host, query) == {"errors": [REFUSAL], "data": None}


@pytest.mark.parametrize(
    ("query", "size"),
    [
        ("{ items(count: 300) { number text } }", 300 * 28),
        ("{ numbers(count: 4900) }", 4_900 * 2),
        ("{ maybe(count: 1900) { number text items(count: 1) { number text } } }", 1_900 * 5),
        ("{ long(count: 9900) }", 9_900),
    ],
)
def test_an_answer_just_below_the_limit_is_given(host: TestClient, query: str, size: int) -> None:
    """What is counted beforehand is never more than what the answer takes."""
    answer = ask(host, query)
    assert "errors" not in answer
    assert size <= len(json.dumps(answer, separators=(",", ":"))) <= LIMIT


def test_what_a_schema_tells_of_itself_does_not_count(host: TestClient) -> None:
    everything = get_introspection_query()
    assert len(json.dumps(ask(host, everything))) > LIMIT
    both = everything.replace("__schema {", "long(count: 1000) items(count: 9) { number } mine: __schema {", 1)
    assert "errors" not in ask(host, both)
    assert ask(host, both.replace("long(count: 1000)", "long(count: 10000)")) == {"errors": [REFUSAL], "data": None}


def test_no_name_makes_an_answer_pass_for_introspection(host: TestClient) -> None:
    queries = [
        "query A { a: long(count: 10000) } query B { a: __schema { description } }",
        "query A { ...F } query B { ...G } fragment F on Query { a: long(count: 10000) } "
        "fragment G on Query { a: __schema { description } }",
        "query A { __schema { description } schema: long(count: 10000) } query B { b: long(count: 1) }",
    ]
    for query in queries:
        assert ask(host, query, operationName="A") == {"errors": [REFUSAL], "data": None}


def test_each_event_of_a_subscription_is_an_answer(host: TestClient) -> None:
    within = subscribed(host, "subscription { lists { items(count: 150) { number text } } }")
    assert ["errors" in answer for answer in within] == [False] * 3
    for selection in ("items(count: 500) { number text }", "long(count: 10000)"):
        over = subscribed(host, f"subscription {{ lists {{ {selection} }} }}")
        assert over == [{"data": None, "errors": [REFUSAL]}] * 3


def subscribed(client: TestClient, document: str) -> list[dict[str, Any]]:
    with client.websocket_connect("/graphql", subprotocols=["graphql-transport-ws"]) as socket:
        socket.send_json({"type": "connection_init"})
        assert socket.receive_json()["type"] == "connection_ack"
        socket.send_json({"type": "subscribe", "id": "1", "payload": {"query": document}})
        answers = []
        while (message := socket.receive_json())["type"] == "next":
            answers.append(message["payload"])
        assert message["type"] == "complete"
        return answers


def test_a_plain_strawberry_schema_is_limited_in_the_view(database_url: str) -> None:
    with serving(strawberry.Schema(Query), database_url, LIMIT) as client:
        assert ask(client, "{ items(count: 500) { number text } }") == {"errors": [REFUSAL], "data": None}
        assert "errors" not in ask(client, "{ items(count: 5) { number text } }")


# Whose limit holds

LARGE = "{ long(count: 2000000) }"


def test_a_hosts_schema_has_no_limit_unless_one_is_set(database_url: str) -> None:
    with serving(Schema(Query), database_url, None) as client:
        assert "errors" not in client.post("/graphql", json={"query": LARGE}).json()
    with serving(Schema(Query, limits=Limits(answer_bytes=LIMIT)), database_url, None) as client:
        assert ask(client, LARGE)["errors"] == [REFUSAL]


def test_the_limits_of_a_schema_win_over_the_settings(database_url: str) -> None:
    settings = Settings(environment="production", database_url=database_url, max_depth=2, max_answer_bytes=LIMIT)
    schema = Schema(Query, limits=Limits(depth=3))
    auth = Auth(settings)
    with TestClient(Starlette(routes=auth.routes(schema), lifespan=auth.lifespan)) as client:
        assert "errors" not in ask(client, "{ items(count: 1) { items(count: 1) { number } } }")
        deeper = ask(client, "{ items(count: 1) { items(count: 1) { items(count: 1) { number } } } }")
        assert deeper["errors"][0]["message"] == "The document's depth is over the limit of 3."
        # What the schema says nothing of is as the settings say: above all, production closes introspection.
        assert "introspection has been disabled" in ask(client, "{ __schema { description } }")["errors"][0]["message"]
        assert ask(client, LARGE)["errors"] == [REFUSAL]


def test_the_ready_server_has_a_limit(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gqlauth.app.MAX_ANSWER_BYTES", LIMIT)
    settings = Settings(environment="test", bcrypt_cost=4, database_url=database_url)
    with TestClient(create_app(settings)) as http:
        client = GraphQLClient(http)
        token = client.signup()["accessToken"]
        for _ in range(10):
            client.login()
        aliases = " ".join(f"a{n}: sessions {{ id createdAt lastUsedAt expiresAt userAgent }}" for n in range(20))
        answer = Kit.post(client, f"{{ {aliases} }}", token=token).json()
        assert answer == {"errors": [REFUSAL], "data": None}
        assert len(client.sessions(token)) == 11
