"""What gqlauth is measured against: a bare ASGI application, Starlette, and Strawberry as its documentation shows it.

Each runs as `python -m benchmarks.floors NAME PORT FOLDER` under the same uvicorn as gqlauth.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

SECRET = "a floor's secret, which signs nothing but this benchmark"
USER_ID = "018f3a2e-0000-7000-8000-000000000001"
USER = {"id": USER_ID, "email": "ada@example.com", "name": "Ada"}


def bare() -> ASGIApp:
    """Read the body and answer with fixed bytes: the most that this server can do."""
    answer = b'{"data":{"me":{"id":"%s","email":"ada@example.com","name":"Ada"}}}' % USER_ID.encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return app


def starlette() -> ASGIApp:
    """A JSON route as one writes it."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def me(request: Request) -> JSONResponse:
        await request.json()
        return JSONResponse({"data": {"me": USER}})

    return Starlette(routes=[Route("/graphql", me, methods=["POST"])])


def strawberry(folder: Path) -> ASGIApp:
    """Strawberry as its documentation shows it."""
    from benchmarks.documented import create_app

    return create_app(create_users(folder))


def create_users(folder: Path) -> Path:
    """Write the one user into a database of its own."""
    path = folder / "strawberry.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE users (id TEXT PRIMARY KEY, email TEXT NOT NULL, name TEXT NOT NULL)")
        connection.execute("INSERT INTO users VALUES (:id, :email, :name)", USER)
    return path


def main(name: str, port: int, folder: Path) -> None:
    """Serve one floor."""
    floors: dict[str, Callable[[], ASGIApp]] = {
        "bare": bare,
        "starlette": starlette,
        "strawberry": partial(strawberry, folder),
    }
    app = floors[name]()
    uvicorn.run(app, port=port, http="httptools", loop="uvloop", lifespan="off", log_level="warning", access_log=False)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
