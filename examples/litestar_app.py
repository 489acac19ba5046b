"""A Litestar application: GraphQL on gqlauth's own routes, and REST endpoints for the same people.

    uv run uvicorn examples.litestar_app:app

Then http://127.0.0.1:8000/graphql is GraphiQL, http://127.0.0.1:8000/account a REST endpoint.
"""

from __future__ import annotations

from typing import Any

import strawberry
from litestar import Litestar, Request, asgi, get
from litestar.di import NamedDependency, Provide
from litestar.exceptions import NotAuthorizedException
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.routing import Route, WebSocketRoute

import gqlauth
from gqlauth import Auth, Context, IsAuthenticated, Unauthenticated, Viewer, guarded

auth = Auth()


@strawberry.type
class Query(gqlauth.Query):
    """The queries of gqlauth, and one more."""

    @strawberry.field(extensions=guarded(IsAuthenticated()))
    def greeting(self, info: strawberry.Info[Context, None]) -> str:
        """Greet who is signed in, by id."""
        return f"Hello {info.context.viewer.user_id}"


schema = gqlauth.Schema(Query, gqlauth.Mutation)
routes = auth.routes(schema)
paths = {route.path for route in routes if isinstance(route, Route | WebSocketRoute)}
api = asgi(sorted(paths), copy_scope=True)(Starlette(routes=routes))


async def signed_in(request: Request[Any, Any, Any]) -> Viewer:
    """Return who is signed in, for a REST endpoint; else answer 401 with the reason."""
    context = await auth.get_context(HTTPConnection({**request.scope}))
    try:
        return context.viewer
    except Unauthenticated as refusal:
        raise NotAuthorizedException(refusal.reason, headers={"www-authenticate": refusal.challenge}) from None


@get("/account", dependencies={"viewer": Provide(signed_in)})
async def account(viewer: NamedDependency[Viewer]) -> dict[str, str]:
    """Answer who is signed in."""
    return {"id": str(viewer.user_id)}


app = Litestar([api, account], lifespan=[auth.lifespan], logging_config=None)
