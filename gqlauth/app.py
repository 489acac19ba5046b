"""The ready server: nothing but what a host could write."""

from __future__ import annotations

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from gqlauth.auth import Auth, safely
from gqlauth.guards.viewer import IsAuthenticated
from gqlauth.http import HeaderCheck
from gqlauth.schema import Mutation, Query, Schema, Subscription
from gqlauth.settings import Settings

# What the server's own operations answer is far smaller: a hundred sessions are 30 kB.
MAX_ANSWER_BYTES = 1_000_000


def create_schema() -> Schema:
    """Return the schema that the server serves."""
    return Schema(Query, Mutation, Subscription, default_guard=IsAuthenticated())


def create_app(settings: Settings | None = None) -> Starlette:
    """Return the server as an ASGI application. `settings` default to the `GQLAUTH_*` variables."""
    settings = settings or Settings.from_environ()
    if settings.max_answer_bytes is None:
        settings = msgspec.structs.replace(settings, max_answer_bytes=MAX_ANSWER_BYTES)
    auth = Auth(settings)
    pages = auth.pages() if auth.settings.pages else []
    handlers = {HTTPException: _refuse}
    routes = [*auth.routes(create_schema()), *pages]
    # Also for the pages, and for addresses at which there is nothing.
    middleware = [Middleware(HeaderCheck, limit=auth.settings.max_header_bytes)]
    return Starlette(routes=routes, middleware=middleware, lifespan=auth.lifespan, exception_handlers=handlers)


def _refuse(request: Request, error: Exception) -> Response:
    """Answer where there is nothing (404) or no such method (405), under the same headers as everywhere."""
    assert isinstance(error, HTTPException)  # noqa: S101 -- it is registered for nothing else
    return safely(PlainTextResponse(error.detail, error.status_code, error.headers))
