"""The signing keys table."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from gqlauth.columns import UTCDateTime


class KeyColumns:
    """A private key as PKCS #8 PEM, encrypted where the settings say so. The one without `retired_at` signs."""

    if TYPE_CHECKING:
        __table__: ClassVar[sa.FromClause]

        def __init__(self, **columns: Any) -> None: ...

    kid: Mapped[str] = mapped_column(sa.String(43), primary_key=True)
    algorithm: Mapped[str] = mapped_column(sa.String(16))
    private_key: Mapped[str] = mapped_column(sa.Text)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime())
    retired_at: Mapped[datetime | None] = mapped_column(UTCDateTime())


def only_one_signs(table: str) -> sa.Index:
    """Return the database's word that exactly one key signs, whoever starts or rotates at the same moment."""
    signs = sa.text("retired_at IS NULL")
    return sa.Index(f"uq_{table}_signing", "algorithm", unique=True, sqlite_where=signs, postgresql_where=signs)
