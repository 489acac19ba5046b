"""The guards and their combinations: who is let in, and what the others are told."""

from __future__ import annotations

import itertools
import logging
import operator
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
import strawberry
from strawberry.permission import BasePermission
from strawberry.tools import create_type

import gqlauth
from gqlauth import Forbidden, Guard, HasRole, HasScope, IsAuthenticated, IsOwner, IsVerified, Limits, Reason, guarded
from gqlauth.context import Identity, Viewer, context_of
from tests.viewers import ADA, ANONYMOUS, BOB, EXPIRED, UNAVAILABLE, WITH, WITHOUT, Asker

STATES = {"anonymous": ANONYMOUS, "expired": EXPIRED, "without": WITHOUT, "with": WITH}
NO, UNKNOWN, YES = 0.0, 0.5, 1.0
ASKS_A_VIEWER = (UNKNOWN, UNKNOWN, NO, YES)
FREE = Limits(tokens=10**6, root_fields=10**6)


class Admin(BasePermission):
    """A host's own, which asks nobody to sign in."""

    error_extensions = {"code": "HOST"}  # noqa: RUF012 -- as Strawberry spells it

    def has_permission(self, source: Any, info: strawberry.Info, **kwargs: Any) -> bool:
        identity = context_of(info).identity
        return isinstance(identity, Viewer) and "admin" in identity.roles


class AsyncAdmin(BasePermission):
    """A host's own, async, which looks at the viewer."""

    async def has_permission(self, source: Any, info: strawberry.Info, **kwargs: Any) -> bool:
        return "admin" in context_of(info).viewer.roles


async def ada(source: Any) -> UUID:
    return ADA


# What each says in each state. The names are those of the rules' texts, too.
ATOMS: dict[str, tuple[Callable[[], BasePermission], tuple[float, ...]]] = {
    "IsAuthenticated": (IsAuthenticated, (NO, NO, YES, YES)),
    "IsVerified": (IsVerified, ASKS_A_VIEWER),
    "HasRole": (lambda: HasRole("admin"), ASKS_A_VIEWER),
    "HasScope": (lambda: HasScope("posts:read", "posts:write"), ASKS_A_VIEWER),
    "IsOwner": (lambda: IsOwner(lambda source: str(ADA)), ASKS_A_VIEWER),
    "AsyncOwner": (lambda: IsOwner(ada), ASKS_A_VIEWER),
    "LateOwner": (lambda: IsOwner(lambda source: ada(source)), ASKS_A_VIEWER),
    "Admin": (Admin, (NO, NO, NO, YES)),
    "AsyncAdmin": (AsyncAdmin, ASKS_A_VIEWER),
}
Table = tuple[str, Any, tuple[float, ...]]


def rules() -> Iterator[Table]:
    """Yield every combination with its text and what Kleene's logic says of it in each state."""
    atoms: list[Table] = [(name, make(), values) for name, (make, values) in ATOMS.items()]
    literals = atoms + [inverted(atom) for atom in atoms if isinstance(atom[1], Guard)]
    yield from literals
    for a, b in itertools.product(literals, repeat=2):
        if isinstance(a[1], Guard) or isinstance(b[1], Guard):
            yield from (both(a, b), either(a, b), inverted(both(a, b)), inverted(either(a, b)))
    for a, b, c in itertools.product(atoms[:4], literals[2::3], atoms[1::2]):
        if isinstance(b[1], Guard):
            yield from (both(a, either(b, c)), either(a, both(b, c)), inverted(both(a, either(b, c))))


def both(a: Table, b: Table) -> Table:
    return f"({a[0]} & {b[0]})", a[1] & b[1], tuple(map(min, a[2], b[2]))


def either(a: Table, b: Table) -> Table:
    return f"({a[0]} | {b[0]})", a[1] | b[1], tuple(map(max, a[2], b[2]))


def inverted(a: Table) -> Table:
    return f"~{a[0]}", ~a[1], tuple(1 - value for value in a[2])


def resolve() -> bool:
    return True


async def resolve_later() -> bool:
    return True


def schema_of(rules: list[Any], resolver: Callable[[], Any], kind: type[strawberry.Schema]) -> strawberry.Schema:
    """Return a schema with a field for each rule: f0, f1, …"""
    fields = []
    for number, rule in enumerate(rules):
        field: Any = strawberry.field(resolver=resolver, extensions=guarded(rule), graphql_type=bool | None)
        field.python_name = f"f{number}"
        fields.append(field)
    query = create_type("Query", fields)
    return kind(query, limits=FREE) if issubclass(kind, gqlauth.Schema) else kind(query)


@pytest.fixture
def asker() -> Asker:
    return Asker()


@pytest.mark.parametrize("resolver", [resolve, resolve_later])
@pytest.mark.parametrize("kind", [gqlauth.Schema, strawberry.Schema])
def test_every_combination_lets_in_whom_kleenes_logic_does(
    kind: type[strawberry.Schema], resolver: Callable[[], Any], asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It writes a traceback for each refusal.
    monkeypatch.setattr(logging.getLogger("strawberry.execution"), "disabled", True)
    # All of them once; where the same guards are asked from elsewhere, one in three is enough.
    tables = list(rules())[:: 1 if (kind, resolver) == (gqlauth.Schema, resolve) else 3]
    assert len(tables) > 400
    schema = schema_of([rule for _, rule, _ in tables], resolver, kind)
    document = "{" + " ".join(f"f{number}" for number in range(len(tables))) + "}"
    for place, (state, identity) in enumerate(STATES.items()):
        for _ in range(2):  # The second time by its plan.
            asker.refused.clear()
            answers = asker.answers(schema, document, identity)
            passed = {text for number, (text, _, _) in enumerate(tables) if answers[f"f{number}"] is True}
            assert passed == {text for text, _, values in tables if values[place] == YES}, state
            assert len(asker.refused) == len(tables) - len(passed)
            told = {answers[f"f{number}"] for number, (text, _, _) in enumerate(tables) if "Admin" not in text} - {True}
            assert told == TOLD[state]


SIGN_IN = {"anonymous": {"TOKEN_MISSING"}, "expired": {"TOKEN_EXPIRED"}}
REASONS = {"ROLE_REQUIRED", "SCOPE_REQUIRED", "EMAIL_NOT_VERIFIED", "NOT_OWNER"}
TOLD = SIGN_IN | {"without": REASONS | {"NOT_ALLOWED"}, "with": {"NOT_ALLOWED"}}


def test_nobody_is_let_in_whom_the_database_could_not_check(asker: Asker) -> None:
    class Anyone(Guard):
        def has_permission(self, source: Any, info: strawberry.Info, **kwargs: Any) -> bool:
            return True

    tables = [*itertools.islice(rules(), 200), ("Anyone", Anyone() | IsAuthenticated(), ()), ("Anyone", Anyone(), ())]
    schema = schema_of([rule for _, rule, _ in tables], resolve, gqlauth.Schema)
    document = "{" + " ".join(f"f{number}" for number in range(len(tables))) + "}"
    for _ in range(2):
        assert set(asker.answers(schema, document, UNAVAILABLE).values()) == {"INTERNAL_ERROR"}
    assert asker.refused == []


TEXT = "{ f0 }"
NOT_ALLOWED, ROLE, SCOPE, OWNER = "NOT_ALLOWED", "ROLE_REQUIRED", "SCOPE_REQUIRED", "NOT_OWNER"


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (HasRole("a", "b"), ROLE),
        (HasScope("posts:read", "x"), SCOPE),
        (IsVerified() & HasRole("a"), "EMAIL_NOT_VERIFIED"),
        (HasRole("a") & IsVerified(), ROLE),
        (HasRole("a") | IsOwner(ada), ROLE),
        (IsOwner(ada) | HasRole("a"), OWNER),
        (~IsAuthenticated() | HasRole("a"), NOT_ALLOWED),
        (~(~HasRole("a")), ROLE),
        (Admin() | HasRole("a"), "HOST"),
        (HasRole("a") | Admin(), ROLE),
        (IsAuthenticated() & Admin(), "HOST"),
    ],
    ids=str,
)
def test_who_lacks_it_is_told_what(rule: Guard, reason: str, asker: Asker) -> None:
    """Of `&`, the first that refuses; of `|`, the first."""
    schema = schema_of([rule], resolve, gqlauth.Schema)
    assert asker.answers(schema, TEXT, WITHOUT) == {"f0": reason}
    (event,) = asker.refused
    told = (event.field, event.reason, event.user_id, event.session_id, event.ip_address)
    assert told == ("f0", NOT_ALLOWED if reason == "HOST" else reason, BOB, BOB, "192.0.2.1")
    asker.answers(schema, TEXT, EXPIRED)
    assert {event.user_id for event in asker.refused[1:]} <= {ADA}


def test_of_two_refusals_signing_in_is_told_if_it_could_help(asker: Asker) -> None:
    schema = schema_of([Admin() | HasRole("a"), HasRole("a") | Admin()], resolve, gqlauth.Schema)
    assert asker.answers(schema, "{ f0 f1 }", EXPIRED) == {"f0": "TOKEN_EXPIRED", "f1": "TOKEN_EXPIRED"}


def test_several_roles_are_any_of_them_and_several_scopes_all(asker: Asker) -> None:
    schema = schema_of(
        [HasRole("x", "admin"), HasScope("posts:write"), HasScope("posts:write", "x")], resolve, gqlauth.Schema
    )
    assert asker.answers(schema, "{ f0 f1 f2 }", WITH) == {"f0": True, "f1": True, "f2": SCOPE}


class Truthy(BasePermission):
    def has_permission(self, source: Any, info: strawberry.Info, **kwargs: Any) -> bool:
        return 1  # type: ignore[return-value]


class Twice(BasePermission):
    async def has_permission(self, source: Any, info: strawberry.Info, **kwargs: Any) -> Any:
        return AsyncAdmin().has_permission(source, info)


class Broken(BasePermission):
    def has_permission(self, source: Any, info: strawberry.Info, **kwargs: Any) -> bool:
        raise StopIteration


class BrokenLater(BasePermission):
    async def has_permission(self, source: Any, info: strawberry.Info, **kwargs: Any) -> bool:
        raise LookupError


@pytest.mark.parametrize("host", [Truthy, Twice, Broken, BrokenLater])
def test_what_is_no_answer_lets_nobody_in(host: type[BasePermission], asker: Asker) -> None:
    rules = [host(), host() & IsAuthenticated(), host() | IsAuthenticated(), ~(IsVerified() & host())]
    for resolver in (resolve, resolve_later):
        schema = schema_of(rules, resolver, gqlauth.Schema)
        for identity in (WITHOUT, WITH):
            answers = asker.answers(schema, "{ f0 f1 f2 }", identity)
            assert set(answers.values()) == {"INTERNAL_ERROR"}
        assert asker.answers(schema, "{ f3 }", WITH) == {"f3": "INTERNAL_ERROR"}


class Silent(BasePermission):
    """Says no, and then does not raise."""

    def has_permission(self, source: Any, info: strawberry.Info, **kwargs: Any) -> bool:
        return False

    def on_unauthorized(self) -> None:
        pass


class Closed(Guard):
    """A host's own, that can be combined with others of its kind."""

    def has_permission(self, source: Any, info: strawberry.Info, **kwargs: Any) -> bool:
        raise Forbidden(Reason.NOT_OWNER)


class Stricter(IsAuthenticated):
    """A host's own, on top of ours."""

    def has_permission(self, source: Any, info: strawberry.Info, **kwargs: Any) -> bool:
        return super().has_permission(source, info, **kwargs) is True and context_of(info).viewer.email_verified


def test_a_hosts_own_guards_are_asked_as_they_are(asker: Asker) -> None:
    rules = [Silent(), Closed() | Closed(), ~Closed(), Stricter(), Stricter() | HasRole("a"), ~Stricter()]
    schema = schema_of(rules, resolve, gqlauth.Schema)
    document = "{ f0 f1 f2 f3 f4 f5 }"
    assert list(asker.answers(schema, document, WITH).values()) == [NOT_ALLOWED, OWNER, True, True, True, NOT_ALLOWED]
    assert list(asker.answers(schema, document, WITHOUT).values())[3:] == [None, None, True]
    closed = "TOKEN_MISSING"
    assert list(asker.answers(schema, document, ANONYMOUS).values())[3:] == [closed, closed, closed]


@strawberry.type
class Post:
    author_id: strawberry.Private[Any]

    @strawberry.field(extensions=guarded(IsOwner(lambda post: post.author_id)))
    def draft(self) -> str | None:
        return "…"

    title: str | None = strawberry.field(extensions=guarded(IsOwner(operator.attrgetter("author_id"))), default="A")


def post_of(source: None, info: strawberry.Info[Any, Any], id: str) -> UUID:
    return UUID(id)


async def post_of_any(source: None, info: strawberry.Info[Any, Any], **arguments: str) -> str:
    return arguments["id"].upper()


@strawberry.type
class Blog:
    @strawberry.field
    def posts(self, info: strawberry.Info) -> list[Post]:
        return [Post(author_id=owner) for owner in (ADA, str(ADA), BOB, None, "ada", 7)]

    @strawberry.field(extensions=guarded(IsOwner(post_of)))
    def one(self, id: str, with_title: bool = True) -> str | None:
        return id

    @strawberry.field(extensions=guarded(IsOwner(post_of_any)))
    def other(self, id: str, with_title: bool = True) -> str | None:
        return id


def test_the_owner_is_found_from_the_source_or_the_arguments(asker: Asker) -> None:
    schema = gqlauth.Schema(Blog)
    for _ in range(2):
        result = asker.execute(schema, "{ posts { draft title } }", WITH)
        told = [(error.extensions or {}).get("reason", "INTERNAL_ERROR") for error in result.errors or []]
        assert sorted(told) == ["INTERNAL_ERROR"] * 2 + [OWNER] * 6
        mine, closed = {"draft": "…", "title": "A"}, {"draft": None, "title": None}
        assert result.data == {"posts": [mine, mine, closed, closed, closed, closed]}
    document = f'{{ mine: one(id: "{ADA}") other(id: "{ADA}") bobs: one(id: "{BOB}") }}'
    for _ in range(2):
        assert asker.answers(schema, document, WITH) == {"mine": str(ADA), "other": str(ADA), "bobs": OWNER}


@pytest.mark.parametrize("definition", [HasRole, HasScope, lambda: HasRole(["admin"]), lambda: HasScope("")])  # type: ignore[arg-type]
def test_a_guard_that_would_guard_nothing_cannot_be_made(definition: Callable[[], Guard]) -> None:
    with pytest.raises(TypeError, match="wants names"):
        definition()


def test_what_is_no_permission_cannot_be_combined() -> None:
    nothing: Any = "admin"
    for combine in (lambda: HasRole("a") & nothing, lambda: nothing | HasRole("a"), lambda: guarded(nothing)):
        with pytest.raises(TypeError, match="'admin' is none"):
            combine()


@pytest.mark.parametrize("place", ["permission_classes", "extensions"])
def test_a_guard_in_the_wrong_place_says_where_it_goes(place: str) -> None:
    field: Any = strawberry.field
    with pytest.raises(TypeError, match=r"IsAuthenticated goes into extensions=guarded\(\.\.\.\)"):

        @strawberry.type
        class Query:
            x: int = field(resolver=lambda: 1, **{place: [IsAuthenticated()]})

        gqlauth.Schema(Query)


def test_pythons_own_operators_drop_no_guard() -> None:
    """`a and b` is b: who is not verified would get in."""
    verified, admin = IsVerified(), HasRole("admin")
    for combine in (lambda: verified and admin, lambda: verified or admin, lambda: not verified):
        with pytest.raises(TypeError, match="Combine guards by &"):
            combine()


def test_a_class_without_arguments_stands_for_its_instance(asker: Asker) -> None:
    rules = [IsAuthenticated | IsVerified(), IsVerified() & Admin, IsVerified]
    schema = schema_of(rules, resolve, gqlauth.Schema)
    assert list(asker.answers(schema, "{ f0 f1 f2 }", WITHOUT).values())[::2] == [True, "EMAIL_NOT_VERIFIED"]
    assert set(asker.answers(schema, "{ f0 f1 f2 }", WITH).values()) == {True}


def typed(identity: Identity) -> Awaitable[bool] | bool:
    """Only for mypy: what hosts write."""
    rule: Guard = HasRole("a") & ~IsOwner(lambda post: post.author_id) | Admin()
    other: Guard = Admin() & rule
    IsOwner(post_of)
    IsOwner(ada)
    IsOwner(len)  # type: ignore[arg-type]
    return bool(str(other) and identity)
