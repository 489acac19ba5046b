"""A planned execution answers what graphql-core's executor answers, byte for byte."""

from __future__ import annotations

import asyncio
import enum
import json
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
import strawberry
from graphql import GraphQLError, get_named_type, is_composite_type, parse
from hypothesis import given
from hypothesis import strategies as st
from strawberry.extensions import FieldExtension

from gqlauth import Limits, Schema
from gqlauth.documents import discreet
from gqlauth.masking import masked
from gqlauth.plan import PlainExecutor, is_awaitable
from tests.fuzz import fuzz


class Closed(FieldExtension):
    def resolve(self, next_: Any, source: Any, info: strawberry.Info, **kwargs: Any) -> Any:
        raise GraphQLError("closed", extensions={"code": "FORBIDDEN", "field": info.field_name, "path": info.path.key})


@strawberry.enum
class Colour(enum.Enum):
    RED = "red"


@strawberry.interface
class Node:
    id: strawberry.ID


@strawberry.type
class Leaf(Node):
    text: str | None = "leaf"
    number: int = 1
    colour: Colour = Colour.RED
    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    tags: list[str | None] | None = None
    null_for_non_null: int = None  # type: ignore[assignment]
    wrong_for_nullable: int | None = "text"  # type: ignore[assignment]
    wrong_for_non_null: int = "text"  # type: ignore[assignment]
    error_as_value: str | None = ValueError("as a value")  # type: ignore[assignment]
    guarded: str | None = strawberry.field(default="secret", extensions=[Closed()])


@strawberry.type
class Branch(Node):
    name: str = "branch"

    @strawberry.field
    def leaf(self) -> Leaf:
        return Leaf(id=strawberry.ID("1"))

    @strawberry.field
    def maybe_leaf(self) -> Leaf | None:
        return Leaf(id=strawberry.ID("2"), text=None, tags=["a", None])

    @strawberry.field
    def no_leaf(self) -> Leaf | None:
        return None

    @strawberry.field
    async def later(self) -> Branch:
        await asyncio.sleep(0)
        return Branch(id=strawberry.ID("later"))

    @strawberry.field
    def branches(self) -> list[Branch]:
        return [Branch(id=strawberry.ID("a")), Odd(id=strawberry.ID("b"))]

    @strawberry.field
    def anything(self) -> list[Anything | None]:
        return [Leaf(id=strawberry.ID("3")), Branch(id=strawberry.ID("4")), None]

    @strawberry.field
    def nodes(self) -> list[Node]:
        return [Leaf(id=strawberry.ID("5")), Branch(id=strawberry.ID("6"))]

    @strawberry.field
    def add(self, one: int, other: int = 2) -> int:
        return one + other

    @strawberry.field
    def context_name(self, info: strawberry.Info) -> str:
        return f"{info.context['name']} {info.field_name} {info.variable_values} {info.path.as_list()}"

    @strawberry.field
    def fails(self) -> str | None:
        raise GraphQLError("on purpose", extensions={"code": "OURS"})

    @strawberry.field
    async def fails_later(self) -> int:
        await asyncio.sleep(0)
        raise GraphQLError("on purpose, later")


Anything = Annotated[Leaf | Branch, strawberry.union("Anything")]


class Odd(Branch):
    """Attributes that are no plain values: its name has to be awaited."""

    @property
    def name(self) -> Any:
        async def later() -> str:
            await asyncio.sleep(0)
            return "awaited"

        return later()

    @name.setter
    def name(self, value: str) -> None:
        pass


@strawberry.type
class Query:
    @strawberry.field
    def branch(self) -> Branch:
        return Branch(id=strawberry.ID("root"))

    @strawberry.field
    def maybe(self) -> Branch | None:
        return Branch(id=strawberry.ID("maybe"))


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def first(self, info: strawberry.Info) -> int:
        await asyncio.sleep(0)
        info.context["calls"].append("first")
        return len(info.context["calls"])

    @strawberry.mutation
    def second(self, info: strawberry.Info) -> Leaf:
        info.context["calls"].append("second")
        return Leaf(id=strawberry.ID(str(len(info.context["calls"]))))


DOCUMENTS = [
    "{ branch { id name } }",
    "{ a: branch { b: id id __typename } __typename }",
    "query Named { maybe { maybeLeaf { id text number colour at tags } noLeaf { id } } }",
    "{ branch { later { later { name leaf { colour } } } } }",
    "{ branch { branches { name branches { name } } } }",
    "{ branch { anything { __typename ... on Leaf { text } ... on Branch { name } } } }",
    "{ branch { nodes { id ... on Leaf { number } ... on Branch { add(one: 1) } } } }",
    "{ branch { ...F leaf { ...G } } } fragment F on Branch { id leaf { text } } fragment G on Leaf { number text }",
    "{ branch { leaf { nullForNonNull } } }",
    "{ branch { maybeLeaf { id nullForNonNull } } }",
    "{ branch { leaf { wrongForNullable errorAsValue guarded id } } }",
    "{ maybe { maybeLeaf { wrongForNonNull } fails id } branch { fails failsLater } }",
    "query ($one: Int!, $other: Int = 5) { branch { add(one: $one, other: $other) contextName } }",
    "mutation { first again: first second { id text } third: second { id nullForNonNull } }",
    "mutation { second { nullForNonNull } first }",
    "{ branch { name @skip(if: true) id @include(if: true) } }",
    "{ branch { email: name } } # ada@example.com",
]


def told(result: Any) -> str:
    """Return what a client would be told, in order, without the random id of an internal error."""
    errors = [error.formatted for error in result.errors or ()]
    for error in errors:
        error.get("extensions", {}).pop("id", None)
    return json.dumps([result.data, errors], default=str)


async def executed(schema: Schema, document: str, variables: dict[str, Any] | None = None) -> str:
    return told(await schema.execute(document, variables, context()))


async def reference(schema: Schema, document: str, variables: dict[str, Any] | None = None) -> str:
    """Execute with graphql-core alone, then mask errors as the schema does."""
    executor = PlainExecutor.build(schema._schema, parse(document), None, context(), variables)
    if isinstance(executor, list):
        return told(strawberry.types.ExecutionResult(data=None, errors=[discreet(error) for error in executor]))
    outcome: Any = executor.execute_operation()
    result = await outcome if is_awaitable(outcome) else outcome
    return told(masked(strawberry.types.ExecutionResult(data=result.data, errors=result.errors)))


def context() -> dict[str, Any]:
    return {"name": "context", "calls": []}


def compare(document: str, variables: dict[str, Any] | None = None) -> None:
    """Execute by graphql-core, then three times by the schema: the second and third time by the plan."""

    async def run() -> None:
        expected = await reference(SCHEMA, document, variables)
        for _ in range(3):
            assert await executed(SCHEMA, document, variables) == expected
        # graphql-core settles in the background what is left when a field fails.
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.gather(*others, return_exceptions=True)

    asyncio.run(run())


SCHEMA = Schema(Query, Mutation, limits=Limits(aliases=10_000, root_fields=100, tokens=10_000))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_plan_answers_like_graphql_core(document: str) -> None:
    compare(document, {"one": 1})
    assert bool(SCHEMA.documents.get(document).plans) == ("@" not in document)


@pytest.mark.parametrize("variables", [None, {"one": "wrong"}, {"one": 1, "other": None}, {"one": 2**31}])
def test_a_plan_refuses_variables_like_graphql_core(variables: dict[str, Any] | None) -> None:
    document = "query ($one: Int!, $other: Int = 5) { branch { add(one: $one, other: $other) contextName } }"
    compare(document, {"one": 1})
    compare(document, variables)


@st.composite
def selections(draw: st.DrawFn, parent: Any, depth: int) -> str:
    """Draw a selection of fields, with aliases, fragments and names twice."""
    parts = []
    for name in draw(st.lists(st.sampled_from([*getattr(parent, "fields", {}), "__typename"]), min_size=1, max_size=5)):
        alias = draw(st.sampled_from(["", "", f"{name}_x: "]))
        parts.append(alias + draw(field(parent, name, depth)))
    if draw(st.booleans()):
        kinds = [kind for kind in ("Leaf", "Branch") if parent.name in (kind, "Node", "Anything")]
        for kind in kinds:
            parts.append(f"... on {kind} {draw(selections(SCHEMA._schema.type_map[kind], depth))}")
    return "{ " + " ".join(parts) + " }"


@st.composite
def field(draw: st.DrawFn, parent: Any, name: str, depth: int) -> str:
    if name == "__typename":
        return name
    kind = get_named_type(parent.fields[name].type)
    arguments = "(one: 1)" if name == "add" else ""
    if not is_composite_type(kind):
        return name + arguments
    return f"{name} {draw(selections(kind, depth - 1)) if depth else '{ __typename }'}"


@fuzz()
@given(selections(SCHEMA._schema.query_type, 2))
def test_a_plan_answers_like_graphql_core_whatever_is_asked(document: str) -> None:
    compare(document)


def test_a_plan_never_outgrows_its_document() -> None:
    bomb = "{ branch { ...F0 } } " + " ".join(
        f"fragment F{n} on Branch {{ a: later {{ ...F{n + 1} }} b: later {{ ...F{n + 1} }} }}" for n in range(9)
    )
    document = bomb + " fragment F9 on Branch { id }"
    compare(document)
    (plan,) = SCHEMA.documents.get(document).plans.values()
    assert len(plan._attributes) <= len(document)


def test_the_request_extensions_reach_the_resolvers() -> None:
    @strawberry.type
    class Echo:
        @strawberry.field
        def echo(self, info: strawberry.Info) -> str:
            return str(info.input_extensions)

    schema = Schema(Echo)
    for _ in range(2):
        result = asyncio.run(schema.execute("{ echo }", operation_extensions={"a": 1}))
        assert result.data == {"echo": "{'a': 1}"}
