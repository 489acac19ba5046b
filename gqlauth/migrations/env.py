"""Runs migrations over the connection that `gqlauth.migrations` has opened."""

from alembic import context

from gqlauth.database import Base
from gqlauth.keys import models as keys
from gqlauth.migrations import VERSION_TABLE
from gqlauth.sessions import models as sessions
from gqlauth.users import models as users

TABLES = (users.User, sessions.Session, keys.Key)

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
context.run_migrations()
