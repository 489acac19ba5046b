"""Runs migrations over the connection that `gqlauth.migrations` has opened."""

from alembic import context

from gqlauth.migrations import version_table

database = context.config.attributes["database"]
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=database.models.metadata,
    version_table=version_table(database),
    version_table_schema=database.models.schema,
    render_as_batch=True,
)
context.run_migrations()
