"""The ready server: nothing but what a host could write."""

from __future__ import annotations

from starlette.applications import Starlette

from gqlauth.auth import Auth
from gqlauth.schema import Mutation, Query, Schema
from gqlauth.settings import Settings


def create_schema() -> Schema:
    """Return the schema that the server serves."""
    return Schema(Query, Mutation)


def create_app(settings: Settings | None = None) -> Starlette:
    """Return the server as an ASGI application. `settings` default to the `GQLAUTH_*` variables."""
    auth = Auth(settings)
    return Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan)
