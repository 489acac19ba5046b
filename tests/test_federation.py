"""A subgraph of an Apollo Federation: guards show as the router's directives, and hold here in any case."""

from __future__ import annotations

import re
from typing import Any

import pytest
import strawberry
from strawberry.federation.schema_directives import RequiresScopes
from strawberry.permission import BasePermission, PermissionExtension

from gqlauth import (
    FederatedSchema,
    HasRole,
    HasScope,
    IsAuthenticated,
    IsOwner,
    IsVerified,
    Limits,
    guarded,
    guarded_type,
    public,
)
from gqlauth.guards.guard import Guard
from tests.viewers import ANONYMOUS, WITH, WITHOUT, Asker

A, B, C = HasScope("a"), HasScope("b"), HasScope("c")


class Open(BasePermission):
    def has_permission(self, source: Any, info: strawberry.Info, **kwargs: Any) -> bool:
        return True

    def __str__(self) -> str:
        return "Open"


@pytest.fixture
def asker() -> Asker:
    return Asker()


def printed(rule: BasePermission) -> str:
    """Return the directives for the router of a field that the rule guards."""

    @strawberry.type
    class Query:
        @strawberry.field(extensions=guarded(rule))
        def field(self) -> int:
            return 1

    sdl = FederatedSchema(Query).as_str()
    line = next(line for line in sdl.splitlines() if line.startswith("  field: Int!"))
    return " ".join(re.findall(r"@authenticated|@requiresScopes\(.*?]]\)", line))


@pytest.mark.parametrize(
    ("rule", "directives"),
    [
        (IsAuthenticated(), "@authenticated"),
        (IsVerified(), "@authenticated"),
        (HasRole("admin"), "@authenticated"),
        (IsOwner(lambda source: None), "@authenticated"),
        (~HasScope("a"), "@authenticated"),
        (~IsAuthenticated(), ""),
        (Open(), ""),
        (IsAuthenticated() & Open(), "@authenticated"),
        (IsAuthenticated() | Open(), ""),
        (A, '@requiresScopes(scopes: [["a"]])'),
        (HasScope("a", "b"), '@requiresScopes(scopes: [["a", "b"]])'),
        (A & B, '@requiresScopes(scopes: [["a", "b"]])'),
        (A | B, '@requiresScopes(scopes: [["a"], ["b"]])'),
        (A & (B | C), '@requiresScopes(scopes: [["a", "b"], ["a", "c"]])'),
        ((A | B) & (A | C), '@requiresScopes(scopes: [["a"], ["a", "c"], ["b", "a"], ["b", "c"]])'),
        (IsVerified() & A, '@requiresScopes(scopes: [["a"]])'),
        # The router must not ask for more than we do: a role is enough here.
        (HasRole("admin") | A, "@authenticated"),
        (~IsAuthenticated() | A, ""),
    ],
    ids=str,
)
def test_the_router_asks_what_it_can_and_no_more_than_we_do(rule: Guard, directives: str) -> None:
    assert printed(rule) == directives


@guarded_type(HasScope("users:read"))
@strawberry.federation.type(keys=["id"])
class User:
    id: strawberry.ID
    name: str | None = strawberry.field(default="Ada", extensions=guarded(HasRole("admin")))

    @classmethod
    def resolve_reference(cls, id: strawberry.ID) -> User:
        return cls(id=id)


@strawberry.federation.type(keys=["id"])
class Product:
    id: strawberry.ID

    @classmethod
    def resolve_reference(cls, id: strawberry.ID) -> Product:
        return cls(id=id)


@strawberry.type
class Query:
    @strawberry.field
    def forgotten(self) -> User | None:
        return User(id=strawberry.ID("1"))

    @strawberry.field(extensions=public())
    def open(self) -> Product:
        return Product(id=strawberry.ID("1"))

    @strawberry.field(extensions=[PermissionExtension([HasScope("x")])], directives=[RequiresScopes(scopes=[["y"]])])
    def by_hand(self) -> int | None:
        return 1


ENTITIES = 'query { _entities(representations: [{__typename: "Product", id: "7"}]) { ... on Product { id } } }'


def test_a_federated_schema_has_the_guards_the_limits_and_the_entities(asker: Asker) -> None:
    schema = FederatedSchema(Query, default_guard=IsAuthenticated(), limits=Limits(aliases=1), types=[User, Product])
    for _ in range(2):
        assert asker.execute(schema, "{ forgotten { id } }", ANONYMOUS).errors is not None
        assert asker.answers(schema, ENTITIES, ANONYMOUS) == {"_entities": "TOKEN_MISSING"}
        assert asker.answers(schema, ENTITIES, WITHOUT) == {"_entities": [{"id": "7"}]}
        service = asker.execute(schema, "{ _service { sdl } }", ANONYMOUS)
        assert (service.data or {})["_service"]["sdl"] == schema.as_str()
        assert asker.execute(schema, "{ forgotten { id } }", WITH).errors is not None
    refused = asker.execute(schema, "{ a: open { id } b: open { id } c: open { id } }", ANONYMOUS)
    assert "alias" in str(refused.errors)


def test_the_directives_are_those_of_apollo_linked_and_beside_ours() -> None:
    sdl = FederatedSchema(Query, default_guard=IsAuthenticated(), types=[User, Product]).as_str()
    assert 'import: ["@authenticated", "@key", "@requiresScopes"]' in sdl
    for line in (
        "  forgotten: User @authenticated @isAuthenticated",
        "  open: Product!",
        '  byHand: Int @requiresScopes(scopes: [["y"]]) @hasScope(scopes: ["x"])',
        '  id: ID! @requiresScopes(scopes: [["users:read"]]) @hasScope(scopes: ["users:read"])',
        '  name: String @requiresScopes(scopes: [["users:read"]]) @hasRole(roles: ["admin"]) '
        '@hasScope(scopes: ["users:read"])',
        "  _service: _Service!",
        "  _entities(representations: [_Any!]!): [_Entity]! @authenticated @isAuthenticated",
    ):
        assert line in sdl.splitlines()


def test_an_older_federation_that_has_no_such_directive_is_refused() -> None:
    with pytest.raises(ValueError, match=r"requires federation version v2\.5 or higher"):
        FederatedSchema(Query, default_guard=IsAuthenticated(), federation_version="2.4")


def test_a_federated_schema_changes_no_other() -> None:
    before = strawberry.federation.Schema(Query).as_str()
    FederatedSchema(Query, default_guard=IsAuthenticated())
    assert strawberry.federation.Schema(Query).as_str() == before
