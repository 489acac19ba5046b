"""A tea house with customers of its own: their own table, columns and GraphQL type, roles, guards, and a dataloader.

    uv run uvicorn examples.shop:app

Then sign up at http://127.0.0.1:8000/graphql. The tables are made at the start, to keep the example short; an
application has migrations.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from uuid import UUID

import sqlalchemy as sa
import strawberry
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from starlette.applications import Starlette
from strawberry.dataloader import DataLoader

import gqlauth
from gqlauth import Auth, Context, HasRole, IsAuthenticated, IsOwner, Settings, guarded, public, without

# ---------------------------------------------------------------- tables


class Base(DeclarativeBase):
    """The tea house's tables, and gqlauth's with them."""


class Customer(gqlauth.UserColumns, Base):
    """Who signs up, with a city."""

    __tablename__ = "customers"

    city: Mapped[str] = mapped_column(sa.String(50), default="")


class ReviewRow(Base):
    """What a customer says of a tea."""

    __tablename__ = "reviews"

    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Customer.id, ondelete="CASCADE"))
    text: Mapped[str] = mapped_column(sa.String(500))
    note: Mapped[str] = mapped_column(sa.String(500), default="")


settings = Settings.from_environ()
engine = sa.create_engine(settings.url)


def read_customers(ids: Sequence[UUID]) -> list[Customer | None]:
    """Return the customers in the order of their ids, None for one that is gone."""
    with Session(engine) as db:
        found = {customer.id: customer for customer in db.scalars(sa.select(Customer).where(Customer.id.in_(ids)))}
    return [found.get(each) for each in ids]


def read_reviews() -> Sequence[ReviewRow]:
    """Return all reviews."""
    with Session(engine) as db:
        return db.scalars(sa.select(ReviewRow).order_by(ReviewRow.id)).all()


def write_review(author_id: UUID, text: str, note: str) -> ReviewRow:
    """Write one review."""
    with Session(engine, expire_on_commit=False) as db, db.begin():
        row = ReviewRow(author_id=author_id, text=text, note=note)
        db.add(row)
    return row


def delete_review(id: int) -> bool:
    """Delete one review; False if there is none."""
    with Session(engine) as db, db.begin():
        row = db.get(ReviewRow, id)
        if row is not None:
            db.delete(row)
    return row is not None


# ---------------------------------------------------------------- GraphQL


class ShopContext(Context[Customer]):
    """What resolvers find in `info.context`: gqlauth's part, and a dataloader for each request."""

    @cached_property
    def customers(self) -> DataLoader[UUID, Customer | None]:
        """Customers by id: one statement for all that one operation asks for."""

        async def load(ids: list[UUID]) -> list[Customer | None]:
            return await asyncio.to_thread(read_customers, ids)

        return DataLoader(load)


Info = strawberry.Info[ShopContext, None]


@strawberry.type
class User(gqlauth.User):
    """An account as its owner sees it: gqlauth's `User`, with a city."""

    city: str


@strawberry.input
class SignupInput(gqlauth.SignupInput):
    """Sign-up asks for the city, too."""

    city: str = ""


@strawberry.type
class Review:
    """A review as everybody sees it; its note only its author and moderators."""

    row: strawberry.Private[ReviewRow]

    @strawberry.field
    def id(self) -> strawberry.ID:
        """Return the number of the row."""
        return strawberry.ID(str(self.row.id))

    @strawberry.field
    def text(self) -> str:
        """Return what the customer wrote."""
        return self.row.text

    @strawberry.field(extensions=guarded(IsOwner(lambda review: review.row.author_id) | HasRole("moderator")))
    def note(self) -> str | None:
        """Return what is not for everybody."""
        return self.row.note

    @strawberry.field
    async def author(self, info: Info) -> str:
        """Return the author's name and city."""
        customer = await info.context.customers.load(self.row.author_id)
        return f"{customer.name} of {customer.city}" if customer else "somebody"


@strawberry.type
class Query(gqlauth.Query):
    """The queries of gqlauth, and the tea house's."""

    @strawberry.field(extensions=public())
    async def reviews(self) -> list[Review]:
        """Return all reviews."""
        return [Review(row=row) for row in await asyncio.to_thread(read_reviews)]

    @strawberry.field
    async def delivery(self, info: Info) -> str:
        """Tell where to: a field without a guard of its own, closed by the schema's."""
        customer = await info.context.load_user()
        return f"To {customer.city}, tomorrow."


@without("delete_account")  # customers write to the tea house for that
@strawberry.type
class Mutation(gqlauth.Mutation):
    """The mutations of gqlauth but one, and the tea house's."""

    @strawberry.mutation
    async def add_review(self, info: Info, text: str, note: str = "") -> Review:
        """Write a review in the name of who is signed in."""
        return Review(row=await asyncio.to_thread(write_review, info.context.viewer.user_id, text, note))

    @strawberry.mutation(extensions=guarded(HasRole("moderator")))
    async def delete_review(self, id: strawberry.ID) -> bool:
        """Delete any review."""
        return await asyncio.to_thread(delete_review, int(id))


# ---------------------------------------------------------------- application

auth = Auth(settings, user=Customer, engine=engine, context=ShopContext)
schema = gqlauth.Schema(Query, Mutation, types=[User, SignupInput], default_guard=IsAuthenticated())


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Make the tables, run gqlauth, close the connections."""
    auth.create_tables()
    async with auth.lifespan(app):
        yield
    engine.dispose()


app = Starlette(routes=auth.routes(schema), lifespan=lifespan)
