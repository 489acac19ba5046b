"""The sessions table."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from gqlauth.columns import UTCDateTime, new_id

MAX_USER_AGENT_LENGTH = 300


class SessionColumns:
    """One sign-in on one device, until it ends.

    No refresh token is stored, only the SHA-256 of the current one and of the one before. `refresh_key` tells tokens of
    this session from made-up ones; `refresh_salt` makes the current token out of the one before, once more if need be.
    """

    if TYPE_CHECKING:
        __table__: ClassVar[sa.FromClause]
        # The host's or gqlauth's own.
        __user__: type[Any]

        def __init__(self, **columns: Any) -> None: ...

    id: Mapped[UUID] = mapped_column(sa.Uuid(), primary_key=True, default=new_id, sort_order=-2)

    @declared_attr
    def user_id(cls) -> Mapped[UUID]:  # noqa: N805 -- SQLAlchemy calls it with the class
        """Whose it is; it goes with the account."""
        return mapped_column(sa.ForeignKey(cls.__user__.__table__.c.id, ondelete="CASCADE"), index=True, sort_order=-1)

    refresh_hash: Mapped[bytes] = mapped_column(sa.LargeBinary(32))
    refresh_key: Mapped[bytes] = mapped_column(sa.LargeBinary(32))
    refresh_salt: Mapped[bytes | None] = mapped_column(sa.LargeBinary(32))
    previous_refresh_hash: Mapped[bytes | None] = mapped_column(sa.LargeBinary(32))
    refreshed_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())
    last_used_at: Mapped[datetime] = mapped_column(UTCDateTime())
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime(), index=True)
    ended_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    ip_address: Mapped[str | None] = mapped_column(sa.String(45))
    user_agent: Mapped[str | None] = mapped_column(sa.String(MAX_USER_AGENT_LENGTH))
