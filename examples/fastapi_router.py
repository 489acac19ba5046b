"""A FastAPI application with Strawberry's GraphQLRouter, gqlauth's context, and more in it.

    uv run uvicorn examples.fastapi_router:app

gqlauth's own route (examples/fastapi_app.py) is faster and stricter. This is for applications that need the router.
"""

from __future__ import annotations

import strawberry
from fastapi import FastAPI
from strawberry.fastapi import BaseContext, GraphQLRouter

import gqlauth
from gqlauth import Auth, Context, IsAuthenticated, Limits, guarded


class TeaContext(Context, BaseContext):  # type: ignore[misc]  # the router assigns what ours only reads
    """The router takes no context that is not a `BaseContext`, or a dict."""

    favourite = "Sencha"


@strawberry.type
class Query(gqlauth.Query):
    """The queries of gqlauth, and one more."""

    @strawberry.field(extensions=guarded(IsAuthenticated()))
    def greeting(self, info: strawberry.Info[TeaContext, None]) -> str:
        """Greet who is signed in, by id."""
        return f"{info.context.favourite} for {info.context.viewer.user_id}"


auth = Auth(context=TeaContext)
# Our own route brings the limits of the settings along; here the schema has to be told.
schema = gqlauth.Schema(Query, gqlauth.Mutation, limits=Limits.of(auth.settings))
router = GraphQLRouter(
    schema,
    "/graphql",
    context_getter=auth.get_context,
    allow_queries_via_get=False,
    graphql_ide="graphiql" if auth.settings.serves_graphiql else None,
)

app = FastAPI(lifespan=auth.lifespan)
app.include_router(router)
