"""Strawberry as its documentation shows it: its ASGI view, a permission class, PyJWT, SQLAlchemy's async session."""

from pathlib import Path
from typing import Any

import jwt
import sqlalchemy as sa
import strawberry
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.types import ASGIApp
from strawberry.asgi import GraphQL
from strawberry.permission import BasePermission

from benchmarks.floors import SECRET

Sessions = async_sessionmaker[AsyncSession]


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "users"

    id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str]
    name: Mapped[str]


@strawberry.type
class User:
    id: strawberry.ID
    email: str
    name: str


async def get_user(sessions: Sessions, authorization: str | None) -> Account | None:
    """Check the token and read its user."""
    try:
        claims = jwt.decode((authorization or "").removeprefix("Bearer "), SECRET, algorithms=["HS256"])
    except jwt.InvalidTokenError:
        return None
    async with sessions() as session:
        user: Account | None = await session.scalar(sa.select(Account).where(Account.id == claims["sub"]))
        return user


class IsAuthenticated(BasePermission):
    message = "User is not authenticated"

    async def has_permission(self, source: Any, info: strawberry.Info[Any, Any], **kwargs: Any) -> bool:
        authorization = info.context["request"].headers.get("Authorization")
        info.context["user"] = await get_user(info.context["sessions"], authorization)
        return info.context["user"] is not None


@strawberry.type
class Query:
    @strawberry.field(permission_classes=[IsAuthenticated])
    async def me(self, info: strawberry.Info[Any, Any]) -> User:
        user = info.context["user"]
        return User(id=user.id, email=user.email, name=user.name)


class View(GraphQL[Any, Any]):
    sessions: Sessions

    async def get_context(self, request: Any, response: Any) -> Any:
        return {"request": request, "response": response, "sessions": self.sessions}


def create_app(database: Path) -> ASGIApp:
    """Return the application over a database file."""
    view = View(strawberry.Schema(Query))
    view.sessions = async_sessionmaker(create_async_engine(f"sqlite+aiosqlite:///{database}"))
    return view
