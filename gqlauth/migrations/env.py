"""Runs migrations over the connection that `gqlauth.migrations` has opened."""

from alembic import context

from gqlauth.database import Base
from gqlauth.migrations import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
context.run_migrations()
