"""The ready server: nothing but what a host could write."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from gqlauth.auth import Auth, safely
from gqlauth.guards.viewer import IsAuthenticated
from gqlauth.schema import Mutation, Query, Schema, Subscription
from gqlauth.settings import Settings


def create_schema() -> Schema:
    """Return the schema that the server serves."""
    return Schema(Query, Mutation, Subscription, default_guard=IsAuthenticated())


def create_app(settings: Settings | None = None) -> Starlette:
    """Return the server as an ASGI application. `settings` default to the `GQLAUTH_*` variables."""
    auth = Auth(settings)
    pages = auth.pages() if auth.settings.pages else []
    handlers = {HTTPException: _refuse}
    routes = [*auth.routes(create_schema()), *pages]
    return Starlette(routes=routes, lifespan=auth.lifespan, exception_handlers=handlers)


def _refuse(request: Request, error: Exception) -> Response:
    """Answer where there is nothing (404) or no such method (405), under the same headers as everywhere."""
    assert isinstance(error, HTTPException)  # noqa: S101 -- it is registered for nothing else
    return safely(PlainTextResponse(error.detail, error.status_code, error.headers))
