"""A host takes what it wants of ours: parts, all but some fields, its own `me`; and ours keep their names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, assert_type

import pytest
import strawberry
from starlette.testclient import TestClient
from strawberry.exceptions import DuplicatedTypeName
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.name_converter import NameConverter

import gqlauth
from gqlauth import Auth, Context, IsVerified, Settings, Viewer, context_of, guarded, without
from tests.hosts.views import VIEWS, HostContext
from tests.support import LOGOUT, ME, Clock, GraphQLClient

Info = strawberry.Info[Context, None]
Open = Callable[..., Any]


@strawberry.type
class OnlySessions(gqlauth.SessionQuery):
    """`sessions`, and nothing of accounts."""

    @strawberry.field
    def teas(self) -> list[str]:
        return ["Assam"]


@without("delete_account", "update_profile")
@strawberry.type
class FewerMutations(gqlauth.Mutation):
    """All but two."""


@strawberry.type
class StillFewer(FewerMutations):
    """What is left out does not come back below."""

    @strawberry.mutation
    def brew_tea(self, for_minutes: int) -> int:
        return for_minutes


@strawberry.type
class Customer:
    """What `me` is here, made of nothing of ours."""

    number: str
    is_new: bool


@strawberry.type
class OwnMe(gqlauth.Query):
    """With a `me` of its own."""

    @strawberry.field(extensions=guarded())
    def me(self, info: Info) -> Customer:
        viewer = context_of(info).viewer
        assert_type(viewer, Viewer)
        return Customer(number=str(viewer.user_id), is_new=not viewer.email_verified)

    @strawberry.field
    def green_teas(self, from_year: int = 2020) -> str:
        return f"Sencha {from_year}"


@strawberry.type
class Session:
    """A lecture's, not ours."""

    title: str


@strawberry.type
class Lectures(gqlauth.AccountQuery):
    """Without our sessions."""

    session: Session | None = None


@pytest.fixture(params=VIEWS, ids=lambda view: view.__name__)
def view(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=[gqlauth.Schema, strawberry.Schema], ids=["gqlauth.Schema", "strawberry.Schema"])
def schema_class(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def open_schema(tmp_path: Path, clock: Clock, view: Any, schema_class: Any) -> Open:
    # What is served how has nothing to do with the database.
    settings = Settings(environment="test", bcrypt_cost=4, database_url=f"sqlite:///{tmp_path}/host.db")

    @contextmanager
    def open_schema(*types: type, **options: Any) -> Iterator[GraphQLClient]:
        auth = Auth(settings, context=HostContext, clock=clock)
        with TestClient(view(auth, schema_class(*types, **options))) as http:
            yield GraphQLClient(http)

    return open_schema


def test_parts_work_without_the_rest(open_schema: Open) -> None:
    with open_schema(OnlySessions, StillFewer) as client:
        payload = client.signup()
        token = payload["accessToken"]
        assert [session["current"] for session in client.sessions(token)] == [True]
        assert client.execute("mutation { brewTea(forMinutes: 3) }") == {"brewTea": 3}
        assert "Cannot query field 'me'" in client.post(ME, token=token).json()["errors"][0]["message"]
        refused = client.post('mutation { deleteAccount(password: "x") { __typename } }', token=token).json()
        assert "Cannot query field 'deleteAccount'" in refused["errors"][0]["message"]
        assert client.execute(LOGOUT, token=token) == {"logout": True}


def test_me_may_be_of_the_hosts_own_type(open_schema: Open) -> None:
    with open_schema(OwnMe, gqlauth.Mutation) as client:
        payload = client.signup()
        me = client.execute("{ me { number isNew } }", token=payload["accessToken"])
        assert me == {"me": {"number": payload["user"]["id"], "isNew": True}}
        assert client.refused("{ me { number } }")["reason"] == "TOKEN_MISSING"


def test_clients_of_ours_need_not_know_how_the_host_names_its_own(open_schema: Open) -> None:
    with open_schema(OwnMe, StillFewer, config=StrawberryConfig(auto_camel_case=False)) as client:
        payload = client.signup()
        token = client.refresh(payload["refreshToken"])["accessToken"]
        assert client.sessions(token)[0]["userAgent"] == "testclient"
        assert client.execute("{ me { is_new } green_teas(from_year: 2024) }", token=token) == {
            "me": {"is_new": True},
            "green_teas": "Sencha 2024",
        }
        assert client.execute("mutation { brew_tea(for_minutes: 3) }") == {"brew_tea": 3}


class Loud(NameConverter):
    """Renames every field and argument."""

    def apply_naming_config(self, name: str) -> str:
        return name.upper()


@pytest.mark.parametrize("config", [{"auto_camel_case": False}, {"name_converter": Loud()}], ids=list)
def test_ours_are_named_the_same_under_any_naming(schema_class: Any, config: Any) -> None:
    @strawberry.type
    class Query(gqlauth.Query):
        @strawberry.field(extensions=guarded(IsVerified()))
        def own_field(self) -> str:
            return ""

    def printed(**options: Any) -> list[str]:
        lines = schema_class(Query, gqlauth.Mutation, gqlauth.Subscription, **options).as_str().splitlines()
        return [line for line in lines if line.split(":")[0].strip().lower() not in ("own_field", "ownfield")]

    assert printed(config=StrawberryConfig(**config)) == printed()
    assert len(printed()) > 150


def test_what_a_host_leaves_out_stays_out_below() -> None:
    for mutation in (FewerMutations, StillFewer):
        text = strawberry.Schema(gqlauth.Query, mutation).as_str()
        assert ("deleteAccount" in text, "updateProfile" in text, "changePassword" in text) == (False, False, True)
    assert "deleteAccount" in gqlauth.Schema(gqlauth.Query, gqlauth.Mutation).as_str()


def test_a_name_that_is_misspelt_is_refused() -> None:
    """It would be open without a word."""
    with pytest.raises(TypeError, match="OnlySessions has no field deleteAccount, me to leave out"):
        without("me", "deleteAccount", "sessions")(OnlySessions)
    assert "sessions" in gqlauth.Schema(OnlySessions).as_str()
    with pytest.raises(TypeError, match=r"stands above the @strawberry\.type of Plain"):

        @strawberry.type
        @without("signup")
        class Plain(gqlauth.Mutation):
            pass


@pytest.mark.parametrize("name", ["User", "Session", "AuthError", "AuthPayload", "SignupInput"])
def test_a_host_type_with_the_name_of_one_of_ours_is_refused_until_it_has_another(schema_class: Any, name: str) -> None:
    own = strawberry.type(type(name, (), {"__annotations__": {"id": int}}))
    with pytest.raises(DuplicatedTypeName, match=name):
        schema_class(gqlauth.Query, gqlauth.Mutation, types=[own]).as_str()
    renamed = strawberry.type(type(name, (), {"__annotations__": {"id": int}}), name=f"Shop{name}")
    text = schema_class(gqlauth.Query, gqlauth.Mutation, types=[renamed]).as_str()
    assert f"type Shop{name} {{" in text


def test_a_name_is_free_where_ours_is_not_used() -> None:
    assert "title: String!" in gqlauth.Schema(Lectures, gqlauth.AccountMutation).as_str()
