"""An application that was there before, and the ten lines (marked with +) that put sign-up, login and sessions into it.

    uv run uvicorn examples.starlette_app:app

Then http://127.0.0.1:8000/graphql is GraphiQL, http://127.0.0.1:8000/ the application's own page.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import strawberry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import BaseRoute, Route

import gqlauth  # +
from gqlauth import Auth, Context, IsAuthenticated, guarded  # +

auth = Auth()  # + settings from GQLAUTH_*, or Auth(Settings(...))


@strawberry.type
class Query(gqlauth.Query):  # + was: class Query
    """What there is to ask."""

    @strawberry.field
    def teas(self) -> list[str]:
        """Answer everybody."""
        return ["Assam", "Sencha"]

    @strawberry.field(extensions=guarded(IsAuthenticated()))  # + a field for who is signed in
    def secret_blend(self, info: strawberry.Info[Context, None]) -> str:
        """Answer who is signed in, by id."""
        return f"Mixed for {info.context.viewer.user_id}"  # +


schema = gqlauth.Schema(Query, gqlauth.Mutation)  # + was: strawberry.Schema(Query)


async def home(request: Request) -> HTMLResponse:
    """Show the application's own page."""
    return HTMLResponse("<!doctype html><title>Teas</title><h1>Teas</h1>")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Open and close what the application has of its own, and gqlauth within."""
    app.state.open = True
    async with auth.lifespan(app):  # + or lifespan=auth.lifespan, where there is no other
        yield
    app.state.open = False


routes: list[BaseRoute] = [Route("/", home), *auth.routes(schema)]  # + was: Route("/graphql", GraphQL(schema))
app = Starlette(routes=routes, lifespan=lifespan)
