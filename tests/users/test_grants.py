"""Roles and scopes: given and taken by an operator, counted from the next request on, told by the next token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
import sqlalchemy as sa
import strawberry
from msgspec.structs import replace

import gqlauth
from gqlauth import Auth, Context, InvalidInput, Settings
from gqlauth.events import Event, GrantAdded, GrantRemoved
from gqlauth.tokens import MAX_TOKEN_BYTES
from gqlauth.users.models import MAX_GRANT_LENGTH
from gqlauth.users.service import MAX_GRANTS, grant, revoke
from tests.hosts.serving import client_of
from tests.support import DELETE_ACCOUNT, PASSWORD, Clock, GraphQLClient
from tests.tables import Grant

ADA = "ada@example.com"
GRANTED = "{ granted { roles scopes } }"


@strawberry.type
class Granted:
    roles: list[str]
    scopes: list[str]


@strawberry.type
class Query(gqlauth.Query):
    @strawberry.field
    def granted(self, info: strawberry.Info[Context, None]) -> Granted:
        viewer = info.context.viewer
        return Granted(roles=sorted(viewer.roles), scopes=sorted(viewer.scopes))


def create_schema() -> gqlauth.Schema:
    return gqlauth.Schema(Query, gqlauth.Mutation)


@pytest.fixture
def client(auth: Auth) -> Iterator[GraphQLClient]:
    with client_of(auth, create_schema()) as client:
        yield client


@pytest.fixture
def events(auth: Auth) -> list[Event]:
    heard: list[Event] = []
    auth.runtime.events.subscribe(heard.append)
    return heard


def granted(client: GraphQLClient, token: str) -> tuple[list[str], list[str]]:
    found = client.execute(GRANTED, token=token)["granted"]
    return found["roles"], found["scopes"]


def claims(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def test_what_is_granted_counts_from_the_next_request_on(auth: Auth, client: GraphQLClient) -> None:
    token = client.signup()["accessToken"]
    assert granted(client, token) == ([], [])
    assert grant(auth.runtime, "ADA@example.com", "role", "editor")
    assert grant(auth.runtime, ADA, "role", "admin")
    assert grant(auth.runtime, ADA, "scope", "posts:read")
    assert granted(client, token) == (["admin", "editor"], ["posts:read"])
    assert (claims(token)["roles"], "scope" in claims(token)) == ([], False)


def test_a_lost_role_counts_at_once_although_the_token_still_names_it(auth: Auth, client: GraphQLClient) -> None:
    client.signup()
    grant(auth.runtime, ADA, "role", "admin")
    token = client.login()["accessToken"]
    assert (claims(token)["roles"], granted(client, token)) == (["admin"], (["admin"], []))
    assert revoke(auth.runtime, ADA, "role", "admin")
    assert (claims(token)["roles"], granted(client, token)) == (["admin"], ([], []))


def test_the_next_token_tells_what_is_granted(auth: Auth, client: GraphQLClient) -> None:
    """RFC 9068 sections 2.2.3 and 2.2.3.1: `scope` is one text, `roles` a list."""
    payload = client.signup()
    for kind, name in (("role", "editor"), ("role", "admin"), ("scope", "posts:write"), ("scope", "posts:read")):
        grant(auth.runtime, ADA, kind, name)  # type: ignore[arg-type]
    for token in (client.refresh(payload["refreshToken"])["accessToken"], client.login()["accessToken"]):
        assert claims(token)["roles"] == ["admin", "editor"]
        assert claims(token)["scope"] == "posts:read posts:write"


def test_stateless_the_token_alone_says_what_is_granted(settings: Settings, clock: Clock) -> None:
    auth = Auth(replace(settings, stateless=True), clock=clock)
    with client_of(auth, create_schema()) as client:
        before = client.signup()["accessToken"]
        grant(auth.runtime, ADA, "role", "admin")
        grant(auth.runtime, ADA, "scope", "posts:read")
        after = client.login()["accessToken"]
        revoke(auth.runtime, ADA, "role", "admin")
        assert granted(client, before) == ([], [])
        assert granted(client, after) == (["admin"], ["posts:read"])


def test_a_role_and_a_scope_of_one_name_are_two(auth: Auth, client: GraphQLClient) -> None:
    token = client.signup()["accessToken"]
    grant(auth.runtime, ADA, "scope", "admin")
    assert granted(client, token) == ([], ["admin"])
    assert not revoke(auth.runtime, ADA, "role", "admin")
    grant(auth.runtime, ADA, "role", "admin")
    assert revoke(auth.runtime, ADA, "scope", "admin")
    assert granted(client, token) == (["admin"], [])


def test_another_account_is_granted_nothing_by_it(auth: Auth, client: GraphQLClient) -> None:
    client.signup()
    eve = client.signup(email="eve@example.com")["accessToken"]
    grant(auth.runtime, ADA, "role", "admin")
    assert granted(client, eve) == ([], [])


@pytest.mark.parametrize("name", ["", "two words", 'a"b', "a\\b", "é", "\n", "a\x7f", "x" * (MAX_GRANT_LENGTH + 1)])
@pytest.mark.parametrize("kind", ["role", "scope"])
def test_what_is_no_scope_token_is_refused(kind: Any, name: str) -> None:
    """RFC 6749 section 3.3. Roles are named alike, so that both can be told in a token. It needs no account."""
    auth = Auth(Settings(environment="test", bcrypt_cost=4))
    told = f"^A {kind} is 1 to 64 printable ASCII characters without blanks, quotes or backslashes.$"
    with pytest.raises(InvalidInput, match=told):
        grant(auth.runtime, ADA, kind, name)


def test_every_character_of_a_scope_token_is_kept(auth: Auth, client: GraphQLClient) -> None:
    """RFC 6749 section 3.3. `:` and `'` too, which stand between names where they are read."""
    allowed = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"\\')
    names = sorted(allowed[at : at + MAX_GRANT_LENGTH] for at in range(0, len(allowed), MAX_GRANT_LENGTH))
    token = client.signup()["accessToken"]
    for name in (*names, "role:x", ":"):
        assert grant(auth.runtime, ADA, "scope", name)
    assert granted(client, token) == ([], sorted((*names, "role:x", ":")))


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_as_many_as_there_can_be_still_make_a_token_that_counts(
    settings: Settings, clock: Clock, algorithm: Any
) -> None:
    auth = Auth(replace(settings, algorithm=algorithm), clock=clock)
    with client_of(auth, create_schema()) as client:
        client.signup()
        names = [f"{number:02}".ljust(MAX_GRANT_LENGTH, "x") for number in range(MAX_GRANTS)]
        for name in names:
            assert grant(auth.runtime, ADA, "role", name)
        with pytest.raises(InvalidInput, match=r"^Nobody can have more than 32 roles and scopes"):
            grant(auth.runtime, ADA, "scope", "one:more")
        # What is there already is not one more.
        assert grant(auth.runtime, ADA, "role", names[0])
        token = client.login()["accessToken"]
        assert len(token) < MAX_TOKEN_BYTES
        assert claims(token)["roles"] == names
        assert granted(client, token) == (names, [])


def test_granting_twice_is_granting_once(auth: Auth, client: GraphQLClient, events: list[Event]) -> None:
    user = client.signup()["user"]["id"]
    events.clear()
    for _ in range(2):
        assert grant(auth.runtime, ADA, "role", "admin")
    assert [revoke(auth.runtime, ADA, "role", "admin") for _ in range(2)] == [True, False]
    assert [(type(event), str(event.user_id), event.kind, event.name) for event in events] == [  # type: ignore[attr-defined]
        (GrantAdded, user, "role", "admin"),
        (GrantRemoved, user, "role", "admin"),
    ]


def test_nobody_is_granted_nothing(auth: Auth, client: GraphQLClient, events: list[Event]) -> None:
    assert not grant(auth.runtime, ADA, "role", "admin")
    assert not grant(auth.runtime, "no address", "role", "admin")
    assert not revoke(auth.runtime, ADA, "role", "admin")
    assert events == []


def test_grants_go_with_the_account(auth: Auth, client: GraphQLClient) -> None:
    token = client.signup()["accessToken"]
    grant(auth.runtime, ADA, "role", "admin")
    client.execute(DELETE_ACCOUNT, {"password": PASSWORD}, token)
    with auth.runtime.database.read() as db:
        assert db.scalar(sa.select(sa.func.count()).select_from(Grant)) == 0
    # Who comes after under the same address begins with nothing.
    assert granted(client, client.signup()["accessToken"]) == ([], [])


def test_grants_at_once_end_as_one_and_never_pass_the_most(
    auth: Auth, client: GraphQLClient, settings: Settings, events: list[Event]
) -> None:
    token = client.signup()["accessToken"]
    others = [Auth(settings) for _ in range(4)]
    events.clear()
    for number in range(MAX_GRANTS - 2):
        grant(auth.runtime, ADA, "role", f"{number:02}")

    def attempt(number: int) -> bool:
        try:
            return grant(others[number % 4].runtime, ADA, "scope", ("same", f"s{number}")[number % 2])
        except InvalidInput:
            return False

    with ThreadPoolExecutor(8) as threads:
        done = list(threads.map(attempt, range(8)))
    roles, scopes = granted(client, token)
    assert (len(roles), len(scopes)) == (MAX_GRANTS - 2, 2)
    assert any(done)
    for other in others:
        other.runtime.database.dispose()


def test_no_mutation_grants_anything() -> None:
    """Nobody can give themselves a role through the API: no input and no argument has the word."""
    printed = gqlauth.Schema(gqlauth.Query, gqlauth.Mutation).as_str()
    taken = re.findall(r"input \w+ \{.*?\n\}|\(.*?\)", re.sub('"""?.*?"""?', "", printed, flags=re.DOTALL), re.DOTALL)
    assert len(taken) > 5
    assert [part for part in taken if re.search("role|scope|grant", part, re.IGNORECASE)] == []
