"""The signing keys table."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from gqlauth.database import Base


class Key(Base):
    """A private key as PKCS #8 PEM, encrypted where the settings say so. The one without `retired_at` signs."""

    __tablename__ = "signing_keys"

    kid: Mapped[str] = mapped_column(sa.String(43), primary_key=True)
    algorithm: Mapped[str] = mapped_column(sa.String(16))
    private_key: Mapped[str] = mapped_column(sa.Text)
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]

    __table_args__ = (
        # The database's word that exactly one key signs, whoever starts or rotates at the same moment.
        sa.Index(
            "uq_signing_keys_signing",
            "algorithm",
            unique=True,
            sqlite_where=sa.text("retired_at IS NULL"),
            postgresql_where=sa.text("retired_at IS NULL"),
        ),
    )
