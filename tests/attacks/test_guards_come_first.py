"""Guards are asked before every other extension of a field, in whatever order they were written."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, TypeVar

import pytest
import strawberry
from strawberry import relay
from strawberry.annotation import StrawberryAnnotation
from strawberry.extensions import FieldExtension
from strawberry.field_extensions import InputMutationExtension
from strawberry.permission import BasePermission, PermissionExtension
from strawberry.types.field import StrawberryField

import gqlauth
from gqlauth import FederatedSchema, HasRole, IsAuthenticated, IsOwner, guarded, public
from tests.viewers import ADA, ANONYMOUS, WITH, Asker

EITHER = pytest.mark.parametrize("kind", [gqlauth.Schema, strawberry.Schema])
MISSING, ROLE = "TOKEN_MISSING", "ROLE_REQUIRED"
T = TypeVar("T")


class Cache(FieldExtension):
    """A host's cache, which answers without a look at who asks."""

    def __init__(self) -> None:
        self.values: dict[Any, Any] = {}

    def resolve(self, next_: Callable[..., Any], source: Any, info: strawberry.Info, **kwargs: Any) -> Any:
        key = (info.schema, info.field_name)
        if key not in self.values:
            self.values[key] = next_(source, info, **kwargs)
        return self.values[key]

    async def resolve_async(self, next_: Callable[..., Any], source: Any, info: strawberry.Info, **kwargs: Any) -> Any:
        key = (info.schema, info.field_name)
        if key not in self.values:
            value = next_(source, info, **kwargs)
            # The events of a subscription are not awaited.
            self.values[key] = await value if inspect.isawaitable(value) else value
        return self.values[key]


class AsyncCache(Cache):
    supports_sync = False


class Admin(BasePermission):
    """A host's own permission."""

    def has_permission(self, source: Any, info: strawberry.Info, **kwargs: Any) -> bool:
        return HasRole("admin").has_permission(source, info, **kwargs) is True


async def ada(source: Any) -> Any:
    return ADA


@pytest.fixture
def asker() -> Asker:
    return Asker()


@strawberry.type
class Cached:
    @strawberry.field(extensions=[*guarded(), Cache()])
    def sync(self) -> str | None:
        return "secret"

    @strawberry.field(extensions=[Cache(), *guarded(), Cache()])
    async def later(self) -> str | None:
        return "secret"

    @strawberry.field(extensions=[*guarded(), AsyncCache()])
    def sync_in_an_async_cache(self) -> str | None:
        return "secret"

    @strawberry.field(extensions=[*guarded(IsOwner(ada)), Cache()])
    def asked_later(self) -> str | None:
        return "secret"

    @strawberry.field(extensions=[*guarded(HasRole("admin")), Cache(), *guarded(), Cache()])
    def guarded_twice(self) -> str | None:
        return "secret"

    @strawberry.field(permission_classes=[IsAuthenticated], extensions=[Cache()])
    def by_class(self) -> str | None:
        return "secret"

    attribute: str | None = strawberry.field(default="secret", extensions=[*guarded(), Cache()])


@strawberry.type
class Root:
    @strawberry.field
    def cached(self) -> Cached:
        return Cached()


@EITHER
def test_an_extension_after_the_guard_answers_nobody_whom_the_guard_refuses(
    kind: type[strawberry.Schema], asker: Asker
) -> None:
    names = "sync later syncInAnAsyncCache askedLater guardedTwice byClass attribute"
    secrets, closed = (dict.fromkeys(names.split(), value) for value in ("secret", None))
    schema = kind(Root)
    for identity, answer in ((WITH, secrets), (ANONYMOUS, closed), (WITH, secrets), (ANONYMOUS, closed)):
        assert asker.execute(schema, f"{{ cached {{ {names} }} }}", identity).data == {"cached": answer}
    # One refusal for each field and request: a second guard is not asked after the first has refused.
    assert len(asker.refused) == 2 * len(closed)


@strawberry.type
class CachedRoot:
    @strawberry.field(extensions=[Cache()])
    def by_default(self) -> str | None:
        return "secret"

    @strawberry.field(extensions=[PermissionExtension([IsAuthenticated()]), Cache()])
    def by_strawberrys_extension(self) -> str | None:
        return "secret"

    @strawberry.field(extensions=[PermissionExtension([Admin()]), Cache()])
    def by_a_hosts_permission(self) -> str | None:
        return "secret"

    @strawberry.field(extensions=[*public(), Cache()])
    def open(self) -> str | None:
        return "open"


@pytest.mark.parametrize("kind", [gqlauth.Schema, FederatedSchema])
def test_in_our_schema_that_holds_for_every_permission(kind: type[gqlauth.Schema], asker: Asker) -> None:
    schema = kind(CachedRoot, default_guard=IsAuthenticated())
    document = "{ byDefault byStrawberrysExtension byAHostsPermission open }"
    for identity, answer in ((WITH, "secret"), (ANONYMOUS, MISSING), (WITH, "secret"), (ANONYMOUS, MISSING)):
        assert asker.answers(schema, document, identity) == {
            **dict.fromkeys(("byDefault", "byStrawberrysExtension", "byAHostsPermission"), answer),
            "open": "open",
        }


@strawberry.type
class Note(relay.Node):
    id: relay.NodeID[int]
    text: str | None = strawberry.field(default="secret", extensions=[*guarded(), Cache()])

    @classmethod
    def resolve_nodes(cls, *, info: Any, node_ids: Iterable[str], required: bool = False) -> list[Note]:
        return [Note(id=int(node_id)) for node_id in node_ids]


def relay_root() -> type:
    """Return a root type of its own: Strawberry makes no two schemas of one `relay.node()`."""

    @strawberry.type
    class Relay:
        node: relay.Node | None = relay.node(extensions=[*guarded(), Cache()])

        @relay.connection(relay.ListConnection[Note], extensions=[*guarded(), Cache()])
        def notes(self) -> list[Note]:
            return [Note(id=1)]

        @strawberry.field
        def first(self) -> Note:
            return Note(id=1)

    return Relay


@strawberry.type
class RelayMutation:
    @strawberry.mutation(extensions=[*guarded(), Cache(), InputMutationExtension()])
    def write(self, text: str) -> str | None:
        return text


@EITHER
def test_that_holds_for_relays_fields(kind: type[strawberry.Schema], asker: Asker) -> None:
    schema = kind(relay_root(), RelayMutation, types=[Note])
    node = f'node(id: "{relay.to_base64("Note", 1)}") {{ ... on Note {{ text }} }}'
    mutation = 'mutation { write(input: {text: "x"}) }'
    for identity in (WITH, ANONYMOUS, WITH, ANONYMOUS):
        nodes = asker.execute(schema, f"{{ {node} first {{ text }} }}", identity).data
        notes = asker.execute(schema, "{ notes { edges { node { text } } } }", identity).data
        written = asker.execute(schema, mutation, identity).data
        if identity is WITH:
            assert nodes == {"node": {"text": "secret"}, "first": {"text": "secret"}}
            assert notes == {"notes": {"edges": [{"node": {"text": "secret"}}]}}
            assert written == {"write": "x"}
        else:
            assert (nodes, notes, written) == ({"node": None, "first": {"text": None}}, None, {"write": None})


@strawberry.type
class Ticker:
    @strawberry.subscription(extensions=[*guarded(), Cache()])
    async def ticks(self) -> AsyncIterator[int]:
        yield 1


@EITHER
def test_that_holds_for_subscriptions(kind: type[strawberry.Schema], asker: Asker) -> None:
    schema = kind(Root, subscription=Ticker)

    async def first(identity: Any) -> Any:
        results: Any = await schema.subscribe("subscription { ticks }", None, asker.context(identity))
        return await anext(aiter(results)) if hasattr(results, "__aiter__") else results

    assert asyncio.run(first(WITH)).data == {"ticks": 1}
    (error,) = asyncio.run(first(ANONYMOUS)).errors
    assert error.extensions["reason"] == MISSING


class Outermost(FieldExtension):
    """Puts itself before everything else when the schema is made."""

    def apply(self, field: StrawberryField) -> None:
        field.extensions = [*field.extensions, Cache()]


@strawberry.type
class Pushy:
    @strawberry.field(extensions=[*guarded(), Outermost()])
    def by_guard(self) -> str | None:
        return "secret"

    @strawberry.field(permission_classes=[IsAuthenticated], extensions=[Outermost()])
    def by_class(self) -> str | None:
        return "secret"


def test_an_extension_that_puts_another_one_first_does_not_succeed(asker: Asker) -> None:
    schema = gqlauth.Schema(Pushy)
    for identity, answer in ((WITH, "secret"), (ANONYMOUS, MISSING)):
        assert asker.answers(schema, "{ byGuard byClass }", identity) == {"byGuard": answer, "byClass": answer}


class Direct(StrawberryField):
    """A host's class of fields, which says that it has no resolver and no extensions."""

    @property
    def is_basic_field(self) -> bool:
        return True


@strawberry.type
class Reads:
    secret: Any = Direct(type_annotation=StrawberryAnnotation(str), default="secret", extensions=guarded())


def test_a_field_that_is_read_without_its_extensions_is_refused() -> None:
    with pytest.raises(TypeError, match="The field secret cannot be guarded"):
        gqlauth.Schema(Reads)
