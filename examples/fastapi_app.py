"""A FastAPI application: GraphQL on gqlauth's own route, and REST endpoints for the same people.

    uv run uvicorn examples.fastapi_app:app

Then http://127.0.0.1:8000/graphql is GraphiQL, http://127.0.0.1:8000/docs FastAPI's page of the REST endpoints.
"""

from __future__ import annotations

from typing import Annotated

import strawberry
from fastapi import Depends, FastAPI, HTTPException

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
app = FastAPI(lifespan=auth.lifespan)
app.router.routes.extend(auth.routes(schema))


async def signed_in(context: Annotated[Context, Depends(auth.get_context)]) -> Viewer:
    """Return who is signed in, for a REST endpoint; else answer 401 with the reason."""
    try:
        return context.viewer
    except Unauthenticated as refusal:
        raise HTTPException(401, refusal.reason, {"www-authenticate": refusal.challenge}) from None


async def moderator(viewer: Annotated[Viewer, Depends(signed_in)]) -> Viewer:
    """Return who is signed in and has the role; else answer 401 or 403."""
    if "moderator" not in viewer.roles:
        raise HTTPException(403, "ROLE_REQUIRED")
    return viewer


@app.get("/teas")
async def teas() -> list[str]:
    """Answer everybody."""
    return ["Assam", "Sencha"]


@app.get("/account")
async def account(viewer: Annotated[Viewer, Depends(signed_in)]) -> dict[str, str]:
    """Answer who is signed in."""
    return {"id": str(viewer.user_id)}


@app.delete("/teas/{name}", dependencies=[Depends(moderator)])
async def delete_tea(name: str) -> str:
    """Answer a moderator."""
    return name
