"""The ways in which a host serves a schema with gqlauth in it."""

from __future__ import annotations

from typing import Any

import strawberry
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from strawberry.asgi import GraphQL
from strawberry.fastapi import BaseContext, GraphQLRouter

from gqlauth import Auth, Context


class HostContext(Context, BaseContext):  # type: ignore[misc]  # the router assigns what ours only reads
    """One that FastAPI's router takes, too."""


def our_route(auth: Auth[Any, Any], schema: strawberry.Schema) -> Starlette:
    return Starlette(routes=auth.routes(schema), lifespan=auth.lifespan)


def strawberrys_view(auth: Auth[Any, Any], schema: strawberry.Schema) -> Starlette:
    class View(GraphQL[Any, None]):
        async def get_context(self, request: Any, response: Any) -> Any:
            return await auth.get_context(request, response)

    app = Starlette(lifespan=auth.lifespan)
    app.add_route("/graphql", View(schema))  # type: ignore[arg-type]
    return app


def fastapis_router(auth: Auth[Any, Any], schema: strawberry.Schema) -> Starlette:
    app = FastAPI(lifespan=auth.lifespan)
    app.include_router(GraphQLRouter(schema, "/graphql", context_getter=auth.get_context))
    return app


def fastapis_router_with_a_dict(auth: Auth[Any, Any], schema: strawberry.Schema) -> Starlette:
    async def get_context(connection: HTTPConnection) -> dict[str, Any]:
        return {"gqlauth": await auth.get_context(connection), "shelf": "tea"}

    app = FastAPI(lifespan=auth.lifespan)
    app.include_router(GraphQLRouter(schema, "/graphql", context_getter=get_context))
    return app


VIEWS = [our_route, strawberrys_view, fastapis_router, fastapis_router_with_a_dict]
