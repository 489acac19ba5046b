"""What Strawberry can do, `gqlauth.Schema` can: whatever a host uses is answered as under `strawberry.Schema`."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import strawberry
from strawberry.dataloader import DataLoader
from strawberry.types.execution import PreExecutionError

import gqlauth
from tests.docs import load
from tests.hosts import features
from tests.viewers import ANONYMOUS, Asker

LEAF = base64.b64encode(b"Leaf:7").decode()

DOCUMENTS = {
    "sync and async": "{ plain later }",
    "field extension": "{ exclaimed }",
    "permission": "{ never plain }",
    "interface": '{ drinks { __typename name ... on Tea { kind label(suffix: "!") } ... on Coffee { strength } } }',
    "union and oneOf": '{ drink(by: {name: "Sencha"}) { ... on Tea { label } ... on Coffee { name } } }',
    "oneOf with a variable": 'query($name: String! = "x") { drink(by: {name: $name}) { __typename } }',
    "maybe": '{ a: search(by: {name: "x"}) b: search(by: {}) }',
    "generic": "{ page { total items { name kind } } }",
    "scalar of the config": "{ even(value: 4) }",
    "date and decimal": '{ price(on: "2026-01-03") }',
    "dataloader": "{ a: square(of: 2) b: square(of: 3) }",
    "info": "query($x: Int = 3) { again: asked(of: $x) }",
    "error of the host's": "{ broken plain }",
    "relay node": f'{{ node(id: "{LEAF}") {{ id ... on Leaf {{ name }} }} }}',
    "relay connection": "{ leaves(first: 1) { pageInfo { hasNextPage endCursor } edges { node { id name } } } }",
    "relay cursor": '{ leaves(after: "!") { edges { node { name } } } }',
    "relay number": "{ leaves(first: -1) { edges { node { name } } } }",
    "relay id": '{ node(id: "!") { id } }',
    "relay limit": "{ leaves(first: 9) { edges { node { name } } } }",
    "mutation with defaults": 'mutation { order(order: {tea: "Assam"}) }',
    "mutation with null": 'mutation { order(order: {tea: "Assam", grams: 2, kind: GREEN, note: null}) }',
    "input mutation": "mutation { brew(input: {minutes: 3}) }",
    "skip and include": "query($yes: Boolean = true) { plain @skip(if: $yes) later @include(if: $yes) }",
    "fragments": "{ ...Some } fragment Some on Query { page { ...Few } } fragment Few on TeaPage { total }",
    "introspection": '{ __type(name: "Tea") { fields { name } interfaces { name } } }',
    "ours": "{ me { id } sessions { id } }",
}
# Refused before anything is executed; in which words is each one's own matter.
REFUSED = {
    "scalar that refuses": "{ even(value: 3) }",
    "oneOf with two": '{ drink(by: {name: "Sencha", number: 1}) { __typename } }',
    "oneOf with null": "{ drink(by: {name: null}) { __typename } }",
    "maybe with null": "{ search(by: {name: null}) }",
    "invalid": "{ nothing }",
}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Import the host anew."""
    code = Path(features.__file__).read_text("utf-8")
    return lambda: load(code, tmp_path, monkeypatch)


def schema(host: Any, kind: type[strawberry.Schema], hooks: str) -> Any:
    return kind(host.Query, host.Mutation, **host.OPTIONS | (host.HOOKS | host.OURS)[hooks])


async def ask(schema: strawberry.Schema, document: str) -> Any:
    context = {"squares": DataLoader(features.squares), "gqlauth": Asker().context(ANONYMOUS)}
    return await schema.execute(document, context_value=context, root_value="root")


async def answer(schema: strawberry.Schema, document: str) -> Any:
    result = await ask(schema, document)
    errors = [(error.message, error.path, error.extensions) for error in result.errors or []]
    return result.data, errors, result.extensions or {}


@pytest.mark.parametrize("hooks", features.HOOKS | features.OURS)
def test_every_document_is_answered_as_by_strawberry(hooks: str, host: Callable[[], Any]) -> None:
    ours = schema(host(), gqlauth.Schema, hooks)
    theirs = schema(host(), strawberry.Schema, hooks if hooks in features.HOOKS else "without hooks")
    for name, document in DOCUMENTS.items():
        expected = asyncio.run(answer(theirs, document))
        for _ in range(2):  # the second time by its plan
            assert asyncio.run(answer(ours, document)) == expected, name


@pytest.mark.parametrize("hooks", features.HOOKS)
def test_the_schema_is_printed_as_by_strawberry(hooks: str, host: Callable[[], Any]) -> None:
    ours, theirs = (schema(host(), kind, hooks).as_str() for kind in (gqlauth.Schema, strawberry.Schema))
    assert ours == theirs
    assert '@since(version: "1.2")' in ours


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_invalid_is_refused_before_it_is_executed(name: str, host: Callable[[], Any]) -> None:
    for kind in (gqlauth.Schema, strawberry.Schema):
        result = asyncio.run(ask(schema(host(), kind, "without hooks"), REFUSED[name]))
        assert isinstance(result, PreExecutionError)
        assert result.errors


def test_one_of_is_checked_within_fragments_too(host: Callable[[], Any]) -> None:
    """Strawberry's own rule knows no variables before the operation that names them."""
    ours = schema(host(), gqlauth.Schema, "without hooks")
    nullable = asyncio.run(ask(ours, "query($name: String) { drink(by: {name: $name}) { __typename } }"))
    assert [error.extensions for error in nullable.errors] == [{}]
    document = "fragment F on Query { drink(by: {name: $name}) { __typename } } query($name: String%s) { ...F }"
    [error] = asyncio.run(ask(ours, document % "")).errors
    assert (error.extensions, "'by' has invalid value" in error.message) == ({}, True)
    assert asyncio.run(ask(ours, document % '! = "x"')).data == {"drink": {"__typename": "Tea"}}


def test_a_script_may_execute_without_an_event_loop(host: Callable[[], Any]) -> None:
    for hooks in features.HOOKS:
        ours = schema(host(), gqlauth.Schema, "without hooks" if hooks == "with an extension" else hooks)
        result = ours.execute_sync("{ plain exclaimed page { total } }")
        assert (result.data, result.errors) == ({"plain": "tea", "exclaimed": "tea!", "page": {"total": 1}}, None)
        assert "over the limit" in ours.execute_sync("{ " + "a: plain " * 100 + "}").errors[0].message


def test_hooks_are_called_in_strawberrys_order(host: Callable[[], Any]) -> None:
    logs = []
    for kind in (gqlauth.Schema, strawberry.Schema):
        module = host()
        asyncio.run(ask(schema(module, kind, "with an extension"), "{ page { total } plain }"))
        logs.append(module.LOG)
    assert logs[0] == logs[1] == ["operation", "execute", "page", "total", "plain", "operation done"]


def test_an_operation_directive_changes_the_answer(host: Callable[[], Any]) -> None:
    ours = schema(host(), gqlauth.Schema, "with a directive")
    for _ in range(2):
        assert asyncio.run(ask(ours, "{ plain @shout(times: 2) }")).data == {"plain": "TEA!!"}
