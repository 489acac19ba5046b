"""A host with customers of its own: more columns, more fields, an invitation to sign up."""

from __future__ import annotations

from typing import Any

import strawberry
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import gqlauth
from gqlauth import Context, InvalidInput, Signup


class Base(DeclarativeBase):
    """The host's own."""


class Customer(gqlauth.UserColumns, Base):
    """Not even its table has the name that ours has."""

    __tablename__ = "customers"

    company: Mapped[str] = mapped_column(String(20))
    handle: Mapped[str | None] = mapped_column(String(10), unique=True)
    points: Mapped[int] = mapped_column(default=0)


class Order(Base):
    """Something of the host's in the same metadata."""

    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)


@strawberry.type
class User(gqlauth.User):
    """With a field off a column, and one with a resolver."""

    company: str
    handle: str | None
    points: int

    @strawberry.field
    def greeting(self) -> str:
        return f"{self.name} of {self.company}"


@strawberry.input
class SignupInput(gqlauth.SignupInput):
    """Two columns, and one field that is none."""

    company: str
    handle: str | None = None
    invitation: str


@strawberry.input
class UpdateProfileInput(gqlauth.UpdateProfileInput):
    """What customers may change by themselves: not their points."""

    company: str | None = strawberry.UNSET
    handle: str | None = strawberry.UNSET


@strawberry.type
class Query(gqlauth.Query):
    """With a field that wants the host's class."""

    @strawberry.field(permission_classes=[gqlauth.IsAuthenticated])
    async def discount(self, info: strawberry.Info[Context[Customer], None]) -> int:
        return (await info.context.load_user()).points // 10


def check_invitation(signup: Signup[Customer]) -> None:
    """Only who is invited gets in, with points to begin with."""
    if signup.extra["invitation"] != "friend":
        raise InvalidInput("This is no invitation.", field="invitation")
    signup.user.points = 100


def create_schema(**options: Any) -> gqlauth.Schema:
    return gqlauth.Schema(Query, gqlauth.Mutation, types=[User, SignupInput, UpdateProfileInput], **options)
