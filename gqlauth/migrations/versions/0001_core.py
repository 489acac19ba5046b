"""Users, what they are granted, sessions and signing keys."""

import sqlalchemy as sa
from alembic import context, op

from gqlauth.columns import UTCDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    prefix, schema = placed()
    users = f"{prefix}users"
    create_users(users, schema)
    owner = f"{schema}.{users}.id" if schema else f"{users}.id"
    create_grants(f"{prefix}grants", schema, f"fk_{prefix}grants_user_id_{users}", owner)
    create_sessions(f"{prefix}sessions", schema, f"fk_{prefix}sessions_user_id_{users}", owner)
    create_keys(f"{prefix}signing_keys", schema)


def downgrade() -> None:
    prefix, schema = placed()
    for name in ("signing_keys", "sessions", "grants", "users"):
        op.drop_table(prefix + name, schema=schema)


def placed() -> tuple[str, str | None]:
    """Return the prefix of the tables and their schema."""
    models = context.config.attributes["database"].models
    return models.prefix, models.schema


def create_users(users: str, schema: str | None) -> None:
    op.create_table(
        users,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("email_key", sa.String(254), nullable=False),
        sa.Column("email_verified_at", UTCDateTime()),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("password_hash", sa.String(128), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("disabled_at", UTCDateTime()),
        sa.PrimaryKeyConstraint("id", name=f"pk_{users}"),
        sa.UniqueConstraint("email_key", name=f"uq_{users}_email_key"),
        schema=schema,
    )


def create_grants(grants: str, schema: str | None, foreign_key: str, owner: str) -> None:
    op.create_table(
        grants,
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(5), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "kind", "name", name=f"pk_{grants}"),
        sa.ForeignKeyConstraint(["user_id"], [owner], name=op.f(foreign_key), ondelete="CASCADE"),
        schema=schema,
    )


def create_sessions(sessions: str, schema: str | None, foreign_key: str, owner: str) -> None:
    op.create_table(
        sessions,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("refresh_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("refresh_key", sa.LargeBinary(32), nullable=False),
        sa.Column("refresh_salt", sa.LargeBinary(32)),
        sa.Column("previous_refresh_hash", sa.LargeBinary(32)),
        sa.Column("refreshed_at", UTCDateTime()),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("last_used_at", UTCDateTime(), nullable=False),
        sa.Column("expires_at", UTCDateTime(), nullable=False),
        sa.Column("ended_at", UTCDateTime()),
        sa.Column("ip_address", sa.String(45)),
        sa.Column("user_agent", sa.String(300)),
        sa.PrimaryKeyConstraint("id", name=f"pk_{sessions}"),
        sa.ForeignKeyConstraint(["user_id"], [owner], name=op.f(foreign_key), ondelete="CASCADE"),
        schema=schema,
    )
    op.create_index(f"ix_{sessions}_user_id", sessions, ["user_id"], schema=schema)
    op.create_index(f"ix_{sessions}_expires_at", sessions, ["expires_at"], schema=schema)


def create_keys(keys: str, schema: str | None) -> None:
    op.create_table(
        keys,
        sa.Column("kid", sa.String(43), nullable=False),
        sa.Column("algorithm", sa.String(16), nullable=False),
        sa.Column("private_key", sa.Text(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("retired_at", UTCDateTime()),
        sa.PrimaryKeyConstraint("kid", name=f"pk_{keys}"),
        schema=schema,
    )
    op.create_index(
        f"uq_{keys}_signing",
        keys,
        ["algorithm"],
        unique=True,
        schema=schema,
        sqlite_where=sa.text("retired_at IS NULL"),
        postgresql_where=sa.text("retired_at IS NULL"),
    )
