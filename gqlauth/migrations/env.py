"""Runs migrations over the connection that `gqlauth.migrations` has opened."""

from alembic import context

from gqlauth.migrations import ensure_schema, version_table

database = context.config.attributes["database"]
connection = context.config.attributes["connection"]
# The table that notes the revision is made before the first of them is run.
ensure_schema(connection, database.models.schema)
context.configure(
    connection=connection,
    target_metadata=database.models.metadata,
    version_table=version_table(database),
    version_table_schema=database.models.schema,
    render_as_batch=True,
)
context.run_migrations()
