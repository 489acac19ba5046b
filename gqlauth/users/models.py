"""The users table."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from gqlauth.database import Base, new_id

MAX_EMAIL_LENGTH = 254
MAX_NAME_LENGTH = 200


class User(Base):
    """One account. `email` is as it was given, `email_key` the form in which it is unique."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    email: Mapped[str] = mapped_column(sa.String(MAX_EMAIL_LENGTH))
    email_key: Mapped[str] = mapped_column(sa.String(MAX_EMAIL_LENGTH), unique=True)
    email_verified_at: Mapped[datetime | None]
    name: Mapped[str] = mapped_column(sa.String(MAX_NAME_LENGTH), default="")
    password_hash: Mapped[str] = mapped_column(sa.String(128))
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
