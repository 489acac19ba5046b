"""The users table, for gqlauth's own class or a host's, and what users are granted."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, declared_attr, mapped_column
from typing_extensions import TypeVar

from gqlauth.columns import UTCDateTime, new_id

MAX_EMAIL_LENGTH = 254
MAX_NAME_LENGTH = 200
MAX_GRANT_LENGTH = 64


class UserColumns:
    """What gqlauth knows of an account. A host adds to it: `class Customer(UserColumns, Base)`, with its own table.

    `email` is as it was given, `email_key` the form in which it is unique.
    """

    id: Mapped[UUID] = mapped_column(sa.Uuid(), primary_key=True, default=new_id)
    email: Mapped[str] = mapped_column(sa.String(MAX_EMAIL_LENGTH))
    email_key: Mapped[str] = mapped_column(sa.String(MAX_EMAIL_LENGTH), unique=True)
    email_verified_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    name: Mapped[str] = mapped_column(sa.String(MAX_NAME_LENGTH), default="")
    password_hash: Mapped[str] = mapped_column(sa.String(128))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())
    disabled_at: Mapped[datetime | None] = mapped_column(UTCDateTime())

    if TYPE_CHECKING:
        __table__: ClassVar[sa.FromClause]

        # SQLAlchemy gives every mapped class a constructor that takes its columns.
        def __init__(self, **columns: Any) -> None: ...


UserT = TypeVar("UserT", bound=UserColumns, default=UserColumns, covariant=True)


class GrantColumns:
    """One role or one scope of one user."""

    if TYPE_CHECKING:
        __table__: ClassVar[sa.FromClause]
        # The host's or gqlauth's own.
        __user__: type[Any]

        def __init__(self, **columns: Any) -> None: ...

    @declared_attr
    def user_id(cls) -> Mapped[UUID]:  # noqa: N805 -- SQLAlchemy calls it with the class
        """Whose it is; it goes with the account."""
        return mapped_column(
            sa.ForeignKey(cls.__user__.__table__.c.id, ondelete="CASCADE"), primary_key=True, sort_order=-1
        )

    kind: Mapped[str] = mapped_column(sa.String(5), primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(MAX_GRANT_LENGTH), primary_key=True)
