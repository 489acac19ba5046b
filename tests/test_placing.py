"""Where guards stand: on fields, on types, and on all of a schema that has none."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest
import strawberry
from graphql import build_schema
from strawberry.permission import BasePermission, PermissionExtension

import gqlauth
from gqlauth import HasRole, IsAuthenticated, IsOwner, IsVerified, guarded, guarded_type, public
from gqlauth.errors import Refusable
from tests.viewers import ADA, ANONYMOUS, WITH, WITHOUT, Asker

EITHER = pytest.mark.parametrize("kind", [gqlauth.Schema, strawberry.Schema])
MISSING, ROLE, VERIFY = "TOKEN_MISSING", "ROLE_REQUIRED", "EMAIL_NOT_VERIFIED"


@pytest.fixture
def asker() -> Asker:
    return Asker()


class Open(BasePermission):
    def has_permission(self, source: Any, info: strawberry.Info, **kwargs: Any) -> bool:
        return True


async def ada(source: Any) -> str:
    return str(ADA)


@strawberry.type
class Fields:
    @strawberry.field(permission_classes=[IsAuthenticated])
    def authenticated(self) -> bool | None:
        return True

    @strawberry.field(permission_classes=[IsVerified, Open])
    async def verified(self) -> bool | None:
        return True

    @strawberry.field(extensions=[PermissionExtension([HasRole("admin") & Open(), IsOwner(lambda source: ADA)])])
    def extension(self) -> bool | None:
        return True

    @strawberry.field(extensions=guarded(IsOwner(ada), HasRole("admin")))
    def two(self) -> bool | None:
        return True

    @strawberry.field(extensions=[*guarded(IsOwner(ada)), Refusable()])
    def beside_an_async_extension(self) -> bool | None:
        return True


@EITHER
def test_guards_stand_wherever_strawberry_has_a_place_for_permissions(
    kind: type[strawberry.Schema], asker: Asker
) -> None:
    schema = kind(Fields)
    document = "{ authenticated verified extension two besideAnAsyncExtension }"
    for _ in range(2):
        assert set(asker.answers(schema, document, ANONYMOUS).values()) == {MISSING}
        told = asker.answers(schema, document, WITHOUT)
        assert list(told.values()) == [True, VERIFY, ROLE, "NOT_OWNER", "NOT_OWNER"]
        assert set(asker.answers(schema, document, WITH).values()) == {True}


@strawberry.type
class Base:
    inherited: str | None = "i"
    listed: list[int] | None = strawberry.field(default_factory=lambda: [1])


@guarded_type(HasRole("admin"))
@strawberry.type
class Report(Base):
    plain: str | None
    secret: strawberry.Private[str] = "s"
    tags: list[str] | None = dataclasses.field(default_factory=list)
    numbers: list[int] | None = strawberry.field(default_factory=list)

    @strawberry.field
    def resolved(self) -> str | None:
        return self.secret

    @strawberry.field
    async def later(self) -> str | None:
        return self.secret

    @strawberry.field(extensions=guarded(IsVerified()))
    def guarded_itself(self) -> str | None:
        return self.secret

    title: str = strawberry.field(default="t", extensions=public())


@strawberry.type
class LongReport(Report):
    added: str = "a"


@strawberry.type
class Reports:
    @strawberry.field
    def report(self) -> Report:
        return Report(plain="p")

    @strawberry.field
    def long(self) -> LongReport:
        return LongReport(plain="p", numbers=[7])

    @strawberry.field
    def base(self) -> Base:
        return Base()


FIELDS = "title inherited listed plain tags numbers resolved later guardedItself __typename"
VALUES = {
    "title": "t",
    "inherited": "i",
    "listed": [1],
    "plain": "p",
    "tags": [],
    "numbers": [],
    "resolved": "s",
    "later": "s",
    "guardedItself": "s",
}


@EITHER
def test_every_field_of_a_guarded_type_is_closed_and_of_the_types_below(
    kind: type[strawberry.Schema], asker: Asker
) -> None:
    schema = kind(Reports)
    document = f"{{ report {{ {FIELDS} }} long {{ {FIELDS} added }} base {{ inherited listed }} }}"
    open_fields = {"title": "t", "__typename": "Report"}
    closed = dict.fromkeys(VALUES, None) | open_fields
    for _ in range(2):
        result = asker.execute(schema, document, WITH)
        assert (result.errors, result.data) == (
            None,
            {
                "report": VALUES | open_fields,
                "long": VALUES | {"__typename": "LongReport", "added": "a", "numbers": [7]},
                "base": {"inherited": "i", "listed": [1]},
            },
        )
        result = asker.execute(schema, document, WITHOUT)
        assert result.data == {
            "report": closed,
            "long": closed | {"__typename": "LongReport", "added": "a"},
            "base": {"inherited": "i", "listed": [1]},
        }
        # The type's guard is asked before the field's own.
        assert {(error.extensions or {})["reason"] for error in result.errors or []} == {ROLE}


@guarded_type()
@strawberry.interface
class Node:
    id: int | None


@strawberry.type
class Leaf(Node):
    name: str


@strawberry.type
class Tree:
    @strawberry.field
    def node(self) -> Node:
        return Leaf(id=1, name="n")


@EITHER
def test_an_interface_hands_its_guard_to_the_types_that_have_it(kind: type[strawberry.Schema], asker: Asker) -> None:
    schema = kind(Tree, types=[Leaf])
    document = "{ node { id ... on Leaf { name id } } }"
    assert asker.execute(schema, document, ANONYMOUS).data == {"node": {"id": None, "name": "n"}}
    assert asker.execute(schema, document, WITHOUT).data == {"node": {"id": 1, "name": "n"}}


def test_a_guarded_type_must_be_one() -> None:
    class Plain:
        pass

    @strawberry.input
    class Input:
        x: int

    class Undecorated(Report):
        pass

    for cls in (Plain, Input, Undecorated):
        with pytest.raises(TypeError, match=f"stands above the @strawberry.type or .interface of {cls.__name__}"):
            guarded_type(HasRole("admin"))(cls)


@strawberry.type
class Query(gqlauth.Query):
    plain: bool | None = True

    @strawberry.field
    def forgotten(self) -> bool | None:
        return True

    @strawberry.field(extensions=[PermissionExtension([])])
    def empty(self) -> bool | None:
        return True

    @strawberry.field(extensions=public())
    def open(self) -> bool | None:
        return True

    @strawberry.field(permission_classes=[Open])
    def by_class(self) -> bool | None:
        return True

    @strawberry.field(extensions=guarded(HasRole("admin")))
    def for_admins(self) -> bool | None:
        return True

    @strawberry.field
    def report(self) -> Report | None:
        return Report(plain="p")


@strawberry.type
class Mutation(gqlauth.Mutation):
    @strawberry.mutation
    async def forgotten(self) -> bool | None:
        return True


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def forgotten(self) -> AsyncIterator[int]:
        yield 1

    @strawberry.subscription(extensions=public())
    async def open(self) -> AsyncIterator[int]:
        yield 1

    @strawberry.subscription(extensions=guarded(IsOwner(ada) | HasRole("admin")))
    async def mine(self) -> AsyncIterator[int]:
        yield 1


def closed_schema() -> gqlauth.Schema:
    return gqlauth.Schema(Query, Mutation, Subscription, default_guard=IsVerified())


def test_a_default_guard_closes_every_root_field_that_says_nothing_else(asker: Asker) -> None:
    schema = closed_schema()
    document = "{ plain forgotten empty report { title } open byClass forAdmins }"
    for _ in range(2):
        assert asker.answers(schema, document, ANONYMOUS) == {
            **dict.fromkeys(("plain", "forgotten", "empty", "report", "forAdmins"), MISSING),
            **{"open": True, "byClass": True},
        }
        assert asker.answers(schema, document, WITHOUT) == {
            **dict.fromkeys(("plain", "forgotten", "empty", "report"), VERIFY),
            **{"open": True, "byClass": True, "forAdmins": ROLE},
        }
        # Only root fields: what is below is reached through them.
        assert asker.answers(schema, document, WITH)["report"] == {"title": "t"}
        assert asker.answers(schema, "mutation { forgotten }", WITHOUT) == {"forgotten": VERIFY}
        assert asker.answers(schema, "mutation { forgotten }", WITH) == {"forgotten": True}


def test_the_fields_that_sign_in_or_out_are_public(asker: Asker) -> None:
    printed = closed_schema().as_str()
    mutations = printed[printed.index("type Mutation") : printed.index("type Query")]
    unguarded = [line.split("(")[0].split(":")[0].strip() for line in mutations.splitlines() if "!" in line]
    guards = {line.split("(")[0].split(":")[0].strip() for line in mutations.splitlines() if "@is" in line}
    assert set(unguarded) - guards == {"signup", "login", "refreshToken", "logout"}
    assert "forgotten: Boolean @isVerified" in mutations
    # What is printed is whole: each directive is defined.
    assert build_schema(printed).get_directive("isVerified") is not None
    assert asker.answers(closed_schema(), "mutation { logout }", ANONYMOUS) == {"logout": False}


def test_a_default_guard_is_of_its_schema_alone(asker: Asker) -> None:
    before = gqlauth.Schema(Query, Mutation).as_str()
    closed = closed_schema().as_str()
    assert "forgotten: Boolean @isVerified" in closed
    for schema in (gqlauth.Schema(Query, Mutation), strawberry.Schema(Query, Mutation)):
        assert schema.as_str() == before
        assert asker.answers(schema, "{ forgotten empty }", ANONYMOUS) == {"forgotten": True, "empty": True}


@pytest.mark.parametrize(("field", "reason"), [("forgotten", MISSING), ("open", None), ("mine", MISSING)])
def test_subscriptions_are_closed_in_the_same_way(field: str, reason: str | None, asker: Asker) -> None:
    async def first(identity: Any) -> Any:
        result: Any = await closed_schema().subscribe(f"subscription {{ {field} }}", None, asker.context(identity))
        if not hasattr(result, "__aiter__"):
            return result
        return await anext(aiter(result))

    refused, answered = asyncio.run(first(ANONYMOUS)), asyncio.run(first(WITH))
    assert (answered.errors, answered.data) == (None, {field: 1})
    told = [error.extensions["reason"] for error in refused.errors or []]
    assert told == ([reason] if reason else [])


def test_a_field_cannot_be_public_and_guarded() -> None:
    @strawberry.type
    class Query:
        @strawberry.field(extensions=[*public(), *guarded()])
        def both(self) -> bool:
            return True

    with pytest.raises(TypeError, match="The field both is public, and has a guard"):
        gqlauth.Schema(Query)


@EITHER
def test_a_context_may_be_a_part_of_a_dict(kind: type[strawberry.Schema], asker: Asker) -> None:
    schema = kind(Fields)
    for identity, errors in ((WITH, 0), (WITHOUT, 1), (ANONYMOUS, 1)):
        context = {"gqlauth": asker.context(identity), "loader": object()}
        for _ in range(2):
            result = asker.execute(schema, "{ two }", identity, context_value=context)
            assert len(result.errors or []) == errors


@pytest.mark.parametrize("context", [None, {}, {"gqlauth": None}, object()])
def test_without_a_context_nobody_is_let_in_and_the_host_is_told_why(context: Any, asker: Asker) -> None:
    result = asker.execute(strawberry.Schema(Fields), "{ authenticated two }", ANONYMOUS, context_value=context)
    assert result.data == {"authenticated": None, "two": None}
    for error in result.errors or []:
        assert isinstance(error.original_error, RuntimeError)
        assert '{"gqlauth": await auth.get_context(request)}' in str(error.original_error)


@strawberry.type
class Printed:
    @strawberry.field(extensions=guarded())
    def a(self) -> int:
        return 1

    @strawberry.field(extensions=guarded(IsVerified(), HasRole("admin", "editor"), HasRole("staff")))
    def b(self) -> int:
        return 1

    @strawberry.field(extensions=guarded(IsVerified() & (HasRole("admin") | ~IsOwner(ada) & Open())))
    def c(self) -> int:
        return 1

    @strawberry.field(extensions=guarded(~IsAuthenticated()))
    def d(self) -> int:
        return 1

    @strawberry.field(extensions=guarded(gqlauth.HasScope("posts:read", "posts:write"), IsOwner(ada), Open()))
    def e(self) -> int:
        return 1


SDL = """
type Printed {
  a: Int! @isAuthenticated
  b: Int! @isVerified @hasRole(roles: ["admin", "editor"]) @hasRole(roles: ["staff"])
  c: Int! @isVerified @guard(rule: "HasRole(admin) | (~IsOwner & Open)")
  d: Int! @guard(rule: "~IsAuthenticated")
  e: Int! @hasScope(scopes: ["posts:read", "posts:write"]) @isOwner @open
}
"""


@pytest.mark.parametrize("kind", [gqlauth.Schema, strawberry.Schema, strawberry.federation.Schema])
def test_guards_show_in_the_printed_schema(kind: type[strawberry.Schema]) -> None:
    printed = kind(Printed).as_str()
    assert SDL.strip().removeprefix("type Printed {")[:-1] in printed
    for directive in (
        "@isAuthenticated",
        "@isVerified",
        "@hasRole(roles: [String!]!) repeatable",
        "@hasScope(scopes: [String!]!) repeatable",
        "@guard(rule: String!) repeatable",
        "@isOwner",
    ):
        assert f"directive {directive} on FIELD_DEFINITION" in printed
