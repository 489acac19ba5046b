"""A field that takes the place of a guarded one keeps its guards, and what cannot be guarded is refused."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import pytest
import strawberry
from strawberry.permission import BasePermission
from strawberry.schema.config import StrawberryConfig

import gqlauth
from gqlauth import FederatedSchema, HasRole, IsOwner, guarded, guarded_type, public
from tests.viewers import ADA, ANONYMOUS, BOB, WITH, WITHOUT, Asker

EITHER = pytest.mark.parametrize("kind", [gqlauth.Schema, strawberry.Schema])
MISSING, ROLE = "TOKEN_MISSING", "ROLE_REQUIRED"
T = TypeVar("T")


class Admin(BasePermission):
    """A host's own permission."""

    def has_permission(self, source: Any, info: strawberry.Info, **kwargs: Any) -> bool:
        return HasRole("admin").has_permission(source, info, **kwargs) is True


async def ada(source: Any) -> Any:
    return ADA


@pytest.fixture
def asker() -> Asker:
    return Asker()


@guarded_type(HasRole("admin"))
@strawberry.interface
class Animal:
    name: str | None = "secret"


@strawberry.interface
class Owned:
    @strawberry.field(extensions=guarded())
    def owner(self) -> str | None:
        return "secret"

    @strawberry.field(permission_classes=[Admin])
    def price(self) -> str | None:
        return "secret"


@strawberry.interface
class Named:
    name: str | None = "secret"


@strawberry.interface
class Pet(Animal, Owned):
    """Redeclares a field of its interface, and adds none of its guards."""

    name: str | None = "secret"


@strawberry.type
class Cat(Animal, Owned):
    name: str | None = "secret"
    owner: str | None = "secret"
    price: str | None = "secret"


@strawberry.type
class Dog(Animal, Owned):
    @strawberry.field  # type: ignore[misc]  # a resolver in the place of an attribute: Strawberry allows it
    async def name(self) -> str | None:  # type: ignore[override]
        return "secret"

    @strawberry.field(extensions=guarded())
    def owner(self) -> str | None:
        return "secret"

    @strawberry.field
    def price(self) -> str | None:
        return "secret"


@strawberry.type
class Bird(Animal, Owned):
    @strawberry.field(name="name")
    def called(self) -> str | None:
        return "secret"

    @strawberry.field(name="owner")
    def keeper(self) -> str | None:
        return "secret"

    @strawberry.field(name="price")
    def cost(self) -> str | None:
        return "secret"


@strawberry.type
class Fish(Named, Animal, Owned):
    """Has its `name` from the interface that does not guard it."""


@strawberry.type
class Hamster(Pet):
    @strawberry.field
    def owner(self) -> str | None:
        return "secret"


@strawberry.type
class Box(Animal, Owned, Generic[T]):
    content: T
    name: str | None = "secret"
    owner: str | None = "secret"
    price: str | None = "secret"


@strawberry.type
class Zoo:
    @strawberry.field
    def box(self) -> Box[int]:
        return Box(content=1)

    @strawberry.field
    def animals(self) -> list[Animal]:
        return [Cat(), Dog(), Bird(), Fish(), Hamster()]

    @strawberry.field
    def owned(self) -> list[Owned]:
        return [Cat(), Dog(), Bird(), Fish(), Hamster()]

    @strawberry.field
    def cat(self) -> Cat:
        return Cat()


ZOO = "{ animals { name } owned { owner price } cat { name owner price } box { name owner price } }"


@pytest.mark.parametrize("kind", [gqlauth.Schema, FederatedSchema])
@pytest.mark.parametrize("auto_camel_case", [True, False])
def test_a_field_that_takes_the_place_of_a_guarded_one_keeps_its_guards(
    kind: type[gqlauth.Schema], auto_camel_case: bool, asker: Asker
) -> None:
    config = StrawberryConfig(auto_camel_case=auto_camel_case)
    schema = kind(Zoo, types=[Dog, Cat, Bird, Fish, Hamster], config=config)
    for identity, name, owner in ((ANONYMOUS, None, None), (WITHOUT, None, "secret"), (WITH, "secret", "secret")):
        # Twice: the second time by the plan.
        for _ in range(2):
            whole = {"name": name, "owner": owner, "price": name}
            assert asker.execute(schema, ZOO, identity).data == {
                "animals": [{"name": name}] * 5,
                "owned": [{"owner": owner, "price": name}] * 5,
                "cat": whole,
                "box": whole,
            }
    printed = schema.as_str()
    for line in ("  name: String", "  owner: String"):
        lines = [each for each in printed.splitlines() if each.startswith(line)]
        open_lines = [each for each in lines if "@isAuthenticated" not in each and "@hasRole" not in each]
        # That of the interface that guards nothing.
        assert (len(lines), len(open_lines)) == ((9, 1) if "name" in line else (8, 0)), open_lines


@strawberry.interface
class Document:
    @strawberry.field(extensions=guarded(HasRole("admin"), IsOwner(lambda source: BOB)))
    def text(self) -> str | None:
        return "interface"


@strawberry.type
class Letter(Document):
    @strawberry.field(extensions=guarded(HasRole("admin"), IsOwner(ada)))
    def text(self) -> str | None:
        return "secret"


@strawberry.type
class Mailbox:
    @strawberry.field
    def letter(self) -> Letter:
        return Letter()


def test_a_guard_that_says_the_same_is_asked_once_and_may_ask_for_another_owner(asker: Asker) -> None:
    for schema in (gqlauth.Schema(Mailbox), strawberry.Schema(Mailbox)):
        asker.refused.clear()
        assert asker.execute(schema, "{ letter { text } }", WITH).data == {"letter": {"text": "secret"}}
        assert asker.execute(schema, "{ letter { text } }", WITHOUT).data == {"letter": {"text": None}}
        assert [event.reason for event in asker.refused] == [ROLE]


@strawberry.interface
class Herd:
    owner: str | None = strawberry.field(default="secret", extensions=guarded())


@strawberry.type
class Cow(Herd):
    owner: str | None = strawberry.field(default="secret", extensions=public())


@strawberry.type
class Farm:
    @strawberry.field
    def cow(self) -> Cow:
        return Cow()


@EITHER
def test_a_type_cannot_open_what_its_interface_guards(kind: type[strawberry.Schema]) -> None:
    with pytest.raises(TypeError, match=r"Cow\.owner is public, but has a guard in the interface Herd"):
        kind(Farm)


@strawberry.interface
class Vehicle:
    plate: str | None = strawberry.field(default="secret", extensions=guarded())


@strawberry.type
class Car(Vehicle):
    plate: str | None = "secret"


@strawberry.type
class Bus(Vehicle):
    plate: str | None = strawberry.field(default="secret", extensions=guarded())


@strawberry.type
class Garage:
    car: Car | None = None
    vehicle: Vehicle | None = None


@strawberry.type
class Depot:
    bus: Bus = strawberry.field(default_factory=Bus)


def test_a_plain_schema_refuses_a_type_that_drops_the_guard_of_its_interface() -> None:
    for kind in (strawberry.Schema, strawberry.federation.Schema):
        with pytest.raises(TypeError, match=r"Car\.plate redeclares a field that has a guard in an interface"):
            kind(Garage)


@strawberry.type
class Member(gqlauth.Query):
    @strawberry.field
    def me(self) -> str | None:
        return "secret"

    @strawberry.field(extensions=public())
    def sessions(self) -> str | None:
        return "open"


def test_a_field_in_the_place_of_one_of_ours_keeps_our_guard_unless_it_is_public(asker: Asker) -> None:
    schema = gqlauth.Schema(Member)
    assert asker.answers(schema, "{ me sessions }", ANONYMOUS) == {"me": MISSING, "sessions": "open"}
    assert asker.answers(schema, "{ me sessions }", WITHOUT) == {"me": "secret", "sessions": "open"}
    assert "me: String @isAuthenticated" in schema.as_str()
    # Other schemas that are made of the same class do not change.
    assert "me: String @isAuthenticated" not in strawberry.Schema(Member).as_str()


@guarded_type(HasRole("admin"))
@strawberry.type
class Report:
    title: str | None = "secret"


@strawberry.type
class LongReport(Report):
    title: str | None = "secret"

    @strawberry.field
    def added(self) -> str | None:
        return "open"


@strawberry.type
class Desk:
    @strawberry.field
    def report(self) -> LongReport:
        return LongReport()


def test_a_type_below_a_guarded_one_keeps_its_guard_in_the_fields_that_it_declares_anew(asker: Asker) -> None:
    answer = asker.execute(gqlauth.Schema(Desk), "{ report { title added } }", WITHOUT)
    assert answer.data == {"report": {"title": None, "added": "open"}}


@strawberry.federation.type(keys=["id"])
class Product(Animal):
    id: strawberry.ID
    name: str | None = "secret"

    @classmethod
    def resolve_reference(cls, id: strawberry.ID) -> Product:
        return cls(id=id)


def test_an_entity_of_another_subgraph_shows_no_more(asker: Asker) -> None:
    document = '{ _entities(representations: [{__typename: "Product", id: "7"}]) { ... on Product { id name } } }'
    schema = FederatedSchema(Zoo, types=[Product])
    for identity, name in ((ANONYMOUS, None), (WITHOUT, None), (WITH, "secret")):
        assert asker.execute(schema, document, identity).data == {"_entities": [{"id": "7", "name": name}]}


@strawberry.input
class Change:
    role: str = strawberry.field(extensions=guarded(HasRole("admin")))


@strawberry.type
class Changes:
    @strawberry.field
    def change(self, input: Change) -> str:
        return input.role


def test_a_field_of_an_input_type_cannot_be_guarded() -> None:
    with pytest.raises(TypeError, match=r"Change\.role cannot have a guard, as a field of an input type"):
        gqlauth.Schema(Changes)
