"""The sessions table."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from gqlauth.database import Base, new_id

MAX_USER_AGENT_LENGTH = 300


class Session(Base):
    """One sign-in on one device, until it ends.

    No refresh token is stored, only the SHA-256 of the current one and of the one before. `refresh_key` tells tokens of
    this session from made-up ones; `refresh_salt` makes the current token out of the one before, once more if need be.
    """

    __tablename__ = "sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[UUID] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"), index=True)
    refresh_hash: Mapped[bytes] = mapped_column(sa.LargeBinary(32))
    refresh_key: Mapped[bytes] = mapped_column(sa.LargeBinary(32))
    refresh_salt: Mapped[bytes | None] = mapped_column(sa.LargeBinary(32))
    previous_refresh_hash: Mapped[bytes | None] = mapped_column(sa.LargeBinary(32))
    refreshed_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    ended_at: Mapped[datetime | None]
    ip_address: Mapped[str | None] = mapped_column(sa.String(45))
    user_agent: Mapped[str | None] = mapped_column(sa.String(MAX_USER_AGENT_LENGTH))
