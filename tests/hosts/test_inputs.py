"""What a host's own inputs may be made of: what is left out stays, and what the database cannot take is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
import strawberry
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from strawberry.scalars import JSON

import gqlauth
from gqlauth import Auth, Settings, Signup
from gqlauth.columns import UTCDateTime
from tests.hosts.serving import client_of
from tests.support import PASSWORD, GraphQLClient

SHOWN = "nickname size"


class Base(DeclarativeBase):
    """The host's own."""


class Club(Base):
    __tablename__ = "clubs"

    id: Mapped[int] = mapped_column(primary_key=True)


class Player(gqlauth.UserColumns, Base):
    __tablename__ = "players"
    __table_args__ = (sa.CheckConstraint("size < 100", name="fits"),)

    club: Mapped[int | None] = mapped_column(sa.ForeignKey("clubs.id"))
    nickname: Mapped[str | None] = mapped_column(default="nobody")
    size: Mapped[int] = mapped_column(sa.Integer(), default=1)
    score: Mapped[int | None] = mapped_column(sa.BigInteger())
    born: Mapped[datetime | None] = mapped_column(UTCDateTime())
    settings: Mapped[Any | None] = mapped_column(sa.JSON())


@strawberry.type
class User(gqlauth.User):
    nickname: str | None
    size: int


@strawberry.input
class SignupInput(gqlauth.SignupInput):
    nickname: str | None = strawberry.UNSET
    size: strawberry.Maybe[int]
    club: strawberry.Maybe[int]
    settings: JSON | None = None
    # No columns.
    voucher: strawberry.Maybe[str]
    note: str | None = strawberry.UNSET


@strawberry.input
class UpdateProfileInput(gqlauth.UpdateProfileInput):
    nickname: strawberry.Maybe[str | None]
    size: strawberry.Maybe[int]
    club: strawberry.Maybe[int]
    score: JSON | None = strawberry.UNSET
    born: datetime | None = strawberry.UNSET
    settings: JSON | None = strawberry.UNSET


SIGNUP = f"""mutation Signup($input: SignupInput!) {{
  signup(input: $input) {{
    ... on AuthPayload {{ accessToken user {{ {SHOWN} }} }} ... on AuthError {{ code message field }}
  }}
}}"""
UPDATE = f"""mutation Update($input: UpdateProfileInput!) {{
  updateProfile(input: $input) {{ ... on User {{ {SHOWN} }} ... on AuthError {{ code message field }} }}
}}"""


@pytest.fixture
def asked() -> list[dict[str, Any]]:
    """What `before_signup` was given besides columns."""
    return []


@pytest.fixture
def client(settings: Settings, asked: list[dict[str, Any]]) -> Iterator[GraphQLClient]:
    def before_signup(signup: Signup[Player]) -> None:
        asked.append(dict(signup.extra))

    auth = Auth(settings, user=Player, before_signup=before_signup)
    auth.create_tables()
    schema = gqlauth.Schema(gqlauth.Query, gqlauth.Mutation, types=[User, SignupInput, UpdateProfileInput])
    with client_of(auth, schema) as client:
        yield client


def signup(client: GraphQLClient, **more: Any) -> dict[str, Any]:
    account = {"email": "ada@example.com", "password": PASSWORD}
    result: dict[str, Any] = client.execute(SIGNUP, {"input": account | more})["signup"]
    return result


def update(client: GraphQLClient, token: str, **changes: Any) -> dict[str, Any]:
    result: dict[str, Any] = client.execute(UPDATE, {"input": changes}, token)["updateProfile"]
    return result


def test_what_a_signup_leaves_out_is_the_columns_default(client: GraphQLClient, asked: list[dict[str, Any]]) -> None:
    assert signup(client)["user"] == {"nickname": "nobody", "size": 1}
    assert asked == [{}]


def test_what_a_signup_gives_is_written_or_told_to_the_host(client: GraphQLClient, asked: list[dict[str, Any]]) -> None:
    payload = signup(client, nickname="ada", size=7, voucher="abc", note=None)
    assert payload["user"] == {"nickname": "ada", "size": 7}
    assert asked == [{"voucher": "abc", "note": None}]


def test_what_an_update_leaves_out_stays(client: GraphQLClient) -> None:
    token = signup(client, nickname="ada", size=7)["accessToken"]
    assert update(client, token, name="Ada") == {"nickname": "ada", "size": 7}
    assert update(client, token, nickname="lady", size=8) == {"nickname": "lady", "size": 8}
    assert update(client, token, nickname=None) == {"nickname": None, "size": 8}


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 100},
        {"club": 1},
        {"score": 2**63},
        {"born": "2000-01-01T00:00:00"},
        {"born": "0001-01-01T00:00:00+14:00"},
    ],
)
def test_what_the_database_does_not_take_is_refused(client: GraphQLClient, changes: dict[str, Any]) -> None:
    token = signup(client)["accessToken"]
    assert update(client, token, **changes)["code"] == "INVALID_INPUT"
    assert update(client, token) == {"nickname": "nobody", "size": 1}


@pytest.mark.parametrize(("more", "rule"), [({"size": 100}, "fits"), ({"club": 1}, "foreign key")])
def test_a_signup_that_breaks_a_rule_of_the_table_is_refused(
    client: GraphQLClient, caplog: pytest.LogCaptureFixture, more: dict[str, Any], rule: str
) -> None:
    assert signup(client, **more)["code"] == "INVALID_INPUT"
    [told] = [record.getMessage() for record in caplog.records if "refused by the database" in record.getMessage()]
    assert rule in told.lower() and "ada@example.com" not in told
    assert signup(client)["user"] == {"nickname": "nobody", "size": 1}


def test_nested_json_is_no_way_to_an_internal_error(client: GraphQLClient) -> None:
    token = signup(client)["accessToken"]
    deep: Any = []
    for _ in range(900):
        deep = [deep]
    for settings in (deep, {"a": "\0"}):
        answer = client.post(UPDATE, {"input": {"settings": settings}}, token).json()
        assert "INTERNAL_ERROR" not in str(answer), answer
