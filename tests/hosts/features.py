"""A host that uses whatever Strawberry has. Imported anew for each schema: Strawberry changes fields in place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Generic, NewType, TypeVar

import strawberry
from strawberry import relay
from strawberry.dataloader import DataLoader
from strawberry.directive import DirectiveLocation, DirectiveValue
from strawberry.extensions import FieldExtension, SchemaExtension
from strawberry.field_extensions import InputMutationExtension
from strawberry.permission import BasePermission
from strawberry.schema.config import StrawberryConfig
from strawberry.schema_directive import Location

import gqlauth

T = TypeVar("T")
Even = NewType("Even", int)
LOG: list[str] = []


class Watch(SchemaExtension):
    """Has a hook of every kind, and a say in the answer."""

    def on_operation(self) -> Iterator[None]:
        LOG.append("operation")
        yield
        LOG.append("operation done")

    async def on_execute(self) -> AsyncIterator[None]:
        LOG.append("execute")
        yield

    def resolve(self, _next: Any, root: Any, info: Any, *args: str, **kwargs: Any) -> Any:
        LOG.append(info.field_name)
        return _next(root, info, *args, **kwargs)

    def get_results(self) -> dict[str, Any]:
        return {"watched": True}


@strawberry.directive(locations=[DirectiveLocation.FIELD])
def shout(value: DirectiveValue[str], times: int = 1) -> str:
    """Change what a field answers."""
    return value.upper() + "!" * times


@strawberry.schema_directive(locations=[Location.FIELD_DEFINITION])
class Since:
    """Shows in the printed schema."""

    version: str


class Exclaim(FieldExtension):
    """A field extension of the host's."""

    def resolve(self, next_: Any, source: Any, info: strawberry.Info, **kwargs: Any) -> Any:
        return f"{next_(source, info, **kwargs)}!"


class Never(BasePermission):
    """A permission of the host's."""

    message = "Not today."

    def has_permission(self, source: Any, info: strawberry.Info, **kwargs: Any) -> bool:
        return False


class AnyOne(gqlauth.Guard):
    """A guard of the host's that lets everybody in."""

    def has_permission(self, source: Any, info: strawberry.Info, **kwargs: Any) -> bool:
        return True


@strawberry.enum
class Kind(Enum):
    """With values that are not the names."""

    GREEN = "green tea"
    BLACK = "black tea"


@strawberry.interface
class Drink:
    """What teas and coffees have."""

    name: str


@strawberry.type
class Tea(Drink):
    """Has a resolver, and a field with a default."""

    kind: Kind = Kind.GREEN

    @strawberry.field
    def label(self, suffix: str = "") -> str:
        return self.name + suffix


@strawberry.type
class Coffee(Drink):
    """Has nothing more."""

    strength: int = 3


@strawberry.type
class Page(Generic[T]):
    """A generic type."""

    items: list[T]
    total: int


@strawberry.type
class Leaf(relay.Node):
    """A Relay node."""

    id: relay.NodeID[str]
    name: str

    @classmethod
    def resolve_nodes(cls, *, info: strawberry.Info, node_ids: Iterable[str], required: bool = False) -> list[Leaf]:
        return [cls(id=each, name=f"leaf {each}") for each in node_ids]


@strawberry.input(one_of=True)
class By:
    """One of two."""

    name: strawberry.Maybe[str]
    number: strawberry.Maybe[int]


@strawberry.input
class Search:
    """What may be left out, but is never null."""

    name: strawberry.Maybe[str]


@strawberry.input
class Order:
    """Nested input with defaults."""

    tea: str
    grams: Even = Even(100)
    kind: Kind = Kind.BLACK
    note: str | None = strawberry.UNSET


async def squares(keys: list[int]) -> list[int]:
    return [key * key for key in keys]


@strawberry.type
class Query(gqlauth.Query):
    """Everything at once."""

    node: relay.Node = relay.node()

    @strawberry.field
    def plain(self) -> str:
        return "tea"

    @strawberry.field(directives=[Since(version="1.2")])
    async def later(self) -> str:
        await asyncio.sleep(0)
        return "tea"

    @strawberry.field(extensions=[Exclaim()])
    def exclaimed(self) -> str:
        return "tea"

    @strawberry.field(permission_classes=[Never])
    def never(self) -> str | None:
        return "tea"

    @strawberry.field
    def drinks(self) -> list[Drink]:
        return [Tea(name="Sencha"), Coffee(name="Mocha")]

    @strawberry.field
    def drink(self, by: By) -> Annotated[Tea | Coffee, strawberry.union("TeaOrCoffee")]:
        return Tea(name=by.name.value) if by.name else Coffee(name="number")

    @strawberry.field
    def search(self, by: Search) -> str:
        return by.name.value if by.name else "everything"

    @strawberry.field
    def page(self) -> Page[Tea]:
        return Page(items=[Tea(name="Assam", kind=Kind.BLACK)], total=1)

    @strawberry.field
    def even(self, value: Even) -> Even:
        return value

    @strawberry.field
    def price(self, on: date) -> Decimal:
        return Decimal("1.50") * on.day

    @strawberry.field
    async def square(self, info: strawberry.Info[Any, Any], of: int) -> int:
        loader: DataLoader[int, int] = info.context["squares"]
        return await loader.load(of)

    @strawberry.field
    def asked(self, info: strawberry.Info[Any, Any], of: int = 1) -> list[str]:
        return [
            info.field_name,
            str(len(info.selected_fields)),
            str(info.path.key),
            str(info.variable_values),
            str(info.root_value),
        ]

    @strawberry.field
    def broken(self) -> str | None:
        raise strawberry.exceptions.StrawberryGraphQLError("Out of tea.", extensions={"code": "EMPTY"})

    @relay.connection(relay.ListConnection[Leaf])
    def leaves(self) -> list[Leaf]:
        return [Leaf(id=str(number), name=f"leaf {number}") for number in range(3)]


@strawberry.type
class Mutation(gqlauth.Mutation):
    """Sync and async, and an input made of arguments."""

    @strawberry.mutation
    def order(self, order: Order) -> str:
        note = "no note" if order.note is strawberry.UNSET else str(order.note)
        return f"{order.grams} g of {order.tea}, {order.kind.value}, {note}"

    @strawberry.mutation(extensions=[InputMutationExtension()])
    async def brew(self, minutes: int) -> int:
        return minutes * 60


def even(value: Any) -> int:
    if int(value) % 2:
        raise ValueError("That is odd.")
    return int(value)


CONFIG = StrawberryConfig(
    scalar_map={Even: strawberry.scalar(name="Even", serialize=int, parse_value=even)}, relay_max_results=2
)


@strawberry.type
class User(gqlauth.User):
    """In the place of ours."""

    leaf: Leaf | None = None


OPTIONS: dict[str, Any] = {"types": [Tea, Coffee, Leaf], "config": CONFIG}
HOOKS: dict[str, dict[str, Any]] = {
    "without hooks": {},
    "with an extension": {"extensions": [Watch]},
    "with a directive": {"directives": [shout]},
}
# Of gqlauth.Schema alone.
OURS: dict[str, dict[str, Any]] = {
    "with a type in the place of ours": {"types": [Tea, Coffee, Leaf, User]},
    "with a default guard": {"default_guard": AnyOne()},
}
