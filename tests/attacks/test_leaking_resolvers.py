"""A resolver of a host's that goes wrong tells nothing of what it had in its hands, whichever way it is executed."""

from __future__ import annotations

import asyncio
import enum
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from typing import Annotated, Any, NewType

import graphql
import pytest
import strawberry
from graphql import GraphQLError
from starlette.applications import Starlette
from starlette.testclient import TestClient
from strawberry.dataloader import DataLoader
from strawberry.extensions import SchemaExtension
from strawberry.permission import BasePermission
from strawberry.schema.config import StrawberryConfig

from gqlauth import Auth, Schema, Settings

SECRET = "hunter2hunter2"
ROW = {"password_hash": SECRET}
TOLD = "The host's own words."


class Row:
    """An object of a host's, whose repr tells everything."""

    def __repr__(self) -> str:
        return f"<Row password_hash={SECRET}>"


def fail(value: Any) -> Any:
    raise ValueError(f"cannot write {value}")


def refuse(value: Any) -> Any:
    raise GraphQLError(TOLD)


Failing, Empty, Delegating, Refusing = (NewType(name, str) for name in ("Failing", "Empty", "Delegating", "Refusing"))
SCALARS: dict[object, Any] = {
    Failing: strawberry.scalar(name="Failing", serialize=fail),
    Empty: strawberry.scalar(name="Empty", serialize=lambda value: None),
    Delegating: strawberry.scalar(name="Delegating", serialize=graphql.GraphQLInt.coerce_output_value),
    Refusing: strawberry.scalar(name="Refusing", serialize=refuse),
}


@strawberry.enum
class Color(enum.Enum):
    RED = "red"


@strawberry.interface
class Named:
    name: str


@strawberry.type
class Person(Named):
    pass


@strawberry.type
class Company(Named):
    pass


@strawberry.type
class Picky:
    name: str = "picky"

    @classmethod
    def is_type_of(cls, value: Any, info: Any) -> bool:
        raise KeyError(SECRET)


@strawberry.type
class Other:
    name: str = "other"


class Closed(BasePermission):
    message = TOLD

    def has_permission(self, source: Any, info: strawberry.Info, **kwargs: Any) -> bool:
        return False


async def load(keys: list[int]) -> list[Any]:
    return [GraphQLError(TOLD) for _ in keys]


def unawaited() -> Any:
    future = asyncio.get_running_loop().create_future()
    future.set_exception(GraphQLError(TOLD))
    return future


def raising(error: Exception) -> Any:
    raise error


async def raising_later(error: Exception) -> Any:
    await asyncio.sleep(0)
    raise error


async def later(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


# The type of a field, and what its resolver does.
LEAKS: dict[str, tuple[Any, Callable[[], Any]]] = {
    "dictForAnObject": (Person | None, lambda: ROW),
    "dictForAnObjectLater": (Person | None, lambda: later(ROW)),
    "dictForANonNullObject": (Person, lambda: ROW),
    "dictInAList": (list[Person], lambda: [ROW]),
    "dictForAnInterface": (Named | None, lambda: ROW),
    "namedForAnInterface": (Named | None, lambda: {"__typename": SECRET}),
    "wrongNameForAnInterface": (Named | None, lambda: {"__typename": "Other", "name": SECRET}),
    "objectForAnInterface": (Named | None, Row),
    "dictForAUnion": (Annotated[Person | Company, strawberry.union("Owner")] | None, lambda: ROW),
    "otherForAUnion": (Annotated[Person | Company, strawberry.union("Owner")] | None, lambda: Other(name=SECRET)),
    "failingIsTypeOf": (Picky | None, lambda: ROW),
    "objectForAList": (list[int] | None, Row),
    "textForAList": (list[int] | None, lambda: SECRET),
    "textsForNumbers": (list[int] | None, lambda: [SECRET]),
    "textForInt": (int | None, lambda: SECRET),
    "textForIntLater": (int | None, lambda: later(SECRET)),
    "textForFloat": (float | None, lambda: SECRET),
    "textForBoolean": (bool | None, lambda: SECRET),
    "dictForString": (str | None, lambda: ROW),
    "dictForId": (strawberry.ID | None, lambda: ROW),
    "textForDateTime": (datetime | None, lambda: SECRET),
    "textForEnum": (Color | None, lambda: SECRET),
    "dictForEnum": (Color | None, lambda: ROW),
    "nullForNonNull": (str, lambda: None),
    "failingScalar": (Failing | None, lambda: SECRET),
    "emptyScalar": (Empty | None, lambda: SECRET),
    "delegatingScalar": (Delegating | None, lambda: SECRET),
    "returnedException": (str | None, lambda: KeyError(SECRET)),
    "raisedException": (str | None, lambda: raising(KeyError(SECRET))),
    "raisedExceptionLater": (str | None, lambda: raising_later(KeyError(SECRET))),
    "cursorReadByTheHost": (str | None, lambda: strawberry.relay.from_base64(b64encode(SECRET.encode()).decode())),
    "parsedByTheHost": (str | None, lambda: graphql.parse(f'{{ "{SECRET}" }}')),
    "coercedByTheHost": (str | None, lambda: graphql.GraphQLInt.coerce_input_value(SECRET)),
}
WORDS: dict[str, tuple[Any, Callable[[], Any]]] = {
    "raised": (str | None, lambda: raising(GraphQLError(TOLD))),
    "raisedLater": (str | None, lambda: raising_later(GraphQLError(TOLD))),
    "returned": (str | None, lambda: GraphQLError(TOLD)),
    "returnedLater": (str | None, lambda: later(GraphQLError(TOLD))),
    "returnedInAList": (list[str | None], lambda: [GraphQLError(TOLD)]),
    "returnedFuture": (str | None, unawaited),
    "loaded": (str | None, lambda: DataLoader(load_fn=load, cache=False).load(1)),
    "refusingScalar": (Refusing | None, lambda: "value"),
}
FIELDS = LEAKS | WORDS


def resolver(kind: Any, act: Callable[[], Any]) -> Any:
    def resolve() -> Any:
        return act()

    resolve.__annotations__ = {"return": kind}
    return strawberry.field(resolver=resolve)


def added(n: int = 1) -> int:
    return n


def closed() -> str | None:
    return "open"


Leaking = strawberry.type(
    type(
        "Leaking",
        (),
        {name: resolver(kind, act) for name, (kind, act) in FIELDS.items()}
        | {
            "added": strawberry.field(resolver=added),
            "closed": strawberry.field(resolver=closed, permission_classes=[Closed]),
        },
    )
)


def leaking() -> Any:
    return Leaking()


leaking.__annotations__ = {"return": Leaking}


async def events() -> Any:
    yield Leaking()


events.__annotations__ = {"return": AsyncIterator[Leaking]}  # type: ignore[valid-type]


async def broken() -> AsyncIterator[int]:
    yield 1
    raise KeyError(SECRET)


async def parsing() -> AsyncIterator[int]:
    yield 1
    graphql.parse(f'{{ "{SECRET}" }}')


async def speaking() -> AsyncIterator[int]:
    yield 1
    raise GraphQLError(TOLD)


def listed() -> AsyncIterator[int]:
    return [SECRET]  # type: ignore[return-value]


Query = strawberry.type(type("Query", (), {"leaking": strawberry.field(resolver=leaking)}))
Subscription = strawberry.type(
    type(
        "Subscription",
        (),
        {
            "leaking": strawberry.subscription(resolver=events),
            **{each.__name__: strawberry.subscription(resolver=each) for each in (broken, parsing, speaking, listed)},
        },
    )
)


class Plain(SchemaExtension):
    """An extension of a host's, which brings in Strawberry's own execution."""


Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module", params=[(), (Plain,)], ids=["plain", "with extensions"])
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a host's own schema."""
    url = f"sqlite:///{tmp_path_factory.mktemp('host')}/test.db"
    auth = Auth(Settings(environment="production", database_url=url))
    config = StrawberryConfig(auto_camel_case=False, scalar_map=SCALARS)
    types: list[Any] = [Person, Company, Other]
    schema = Schema(Query, None, Subscription, types=types, extensions=request.param, config=config)
    with TestClient(Starlette(routes=auth.routes(schema), lifespan=auth.lifespan)) as client:
        yield client


@pytest.fixture(params=["query", "subscription"])
def ask(request: pytest.FixtureRequest, host: TestClient) -> Ask:
    """Return what asks the leaking type for a selection, and returns the answers."""

    def post(selection: str, declared: str = "", variables: Any = None) -> list[dict[str, Any]]:
        body = {"query": f"query {declared} {{ leaking {{ {selection} }} }}", "variables": variables}
        # By graphql-core's executor, and after that by a plan.
        return [host.post("/graphql", json=body).json() for _ in range(3)]

    def subscribe(selection: str, declared: str = "", variables: Any = None) -> list[dict[str, Any]]:
        return subscribed(host, f"subscription {declared} {{ leaking {{ {selection} }} }}", variables)

    return subscribe if request.param == "subscription" else post


def subscribed(client: TestClient, document: str, variables: Any = None) -> list[dict[str, Any]]:
    """Return the answers to a subscription, up to its end."""
    with client.websocket_connect("/graphql", subprotocols=["graphql-transport-ws"]) as socket:
        socket.send_json({"type": "connection_init"})
        assert socket.receive_json()["type"] == "connection_ack"
        payload = {"query": document, "variables": variables}
        socket.send_json({"type": "subscribe", "id": "1", "payload": payload})
        answers = []
        while (message := socket.receive_json())["type"] != "complete":
            answers.append(message["payload"] if message["type"] == "next" else {"errors": message["payload"]})
            if message["type"] == "error":
                break
        return answers


def selection(name: str) -> str:
    kind = FIELDS[name][0]
    composite = any(each.__name__ in repr(kind) for each in (Named, Person, Company, Picky))
    return f"{name} {{ __typename }}" if composite else name


@pytest.mark.parametrize("name", LEAKS)
def test_the_value_of_a_resolver_never_reaches_the_client(ask: Ask, name: str) -> None:
    """ASVS 16.5.1: a dict for a type with an interface was once answered with its whole content."""
    answers = ask(selection(name))
    assert answers
    for answer in answers:
        [error] = answer["errors"]
        assert SECRET not in json.dumps(answer)
        assert error["message"] == "Something went wrong on our side."
        assert error["extensions"]["code"] == "INTERNAL_ERROR"
        assert error["path"][:2] == ["leaking", name]


@pytest.mark.parametrize("name", [*WORDS, "closed"])
def test_what_the_host_says_as_a_graphql_error_is_told(ask: Ask, name: str) -> None:
    for answer in ask(name):
        assert [error["message"] for error in answer["errors"]] == [TOLD]


def test_what_is_wrong_with_an_argument_is_told(ask: Ask) -> None:
    """A nullable variable may stand in the place of an argument that has a default, and be null."""
    for answer in ask("added(n: $n)", "($n: Int)", {"n": None}):
        [error] = answer["errors"]
        assert "INTERNAL_ERROR" not in json.dumps(error)
        assert error["message"].startswith("Argument 'n' has invalid value: Expected variable '$n'")


@pytest.mark.parametrize("name", ["broken", "parsing", "listed"])
def test_the_source_of_a_subscription_tells_nothing_either(host: TestClient, name: str) -> None:
    answers = subscribed(host, f"subscription {{ {name} }}")
    assert SECRET not in json.dumps(answers)
    assert answers[-1]["errors"][0]["extensions"]["code"] == "INTERNAL_ERROR"


def test_the_source_of_a_subscription_may_speak(host: TestClient) -> None:
    assert subscribed(host, "subscription { speaking }")[-1]["errors"][0]["message"] == TOLD
