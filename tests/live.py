"""A server that listens on a real port, and a client that speaks to it over sockets, from any thread."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import uvicorn
from starlette.applications import Starlette

from gqlauth import Auth
from gqlauth.app import create_schema
from tests.support import LOGIN, ME, PASSWORD, SIGNUP

T = TypeVar("T")


@contextmanager
def serving(auth: Auth, **options: Any) -> Iterator[LiveClient]:
    """Serve in a thread of this process, so that a test can hold the clock and look behind the curtain.

    `options` are uvicorn's.
    """
    app = Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", ws="none", **options))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield LiveClient(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


class LiveClient:
    """One connection for each request, so that requests of many threads really meet."""

    def __init__(self, port: int) -> None:
        self.port = port

    def post(self, document: str, variables: dict[str, Any] | None = None, token: str | None = None) -> Any:
        """Send one request and return the parsed answer."""
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            body = json.dumps({"query": document, "variables": variables})
            connection.request("POST", "/graphql", body.encode(), headers)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def signup(self, email: str, password: str = PASSWORD) -> dict[str, Any]:
        """Return what `signup` answered."""
        result: dict[str, Any] = self.post(SIGNUP, {"input": {"email": email, "password": password}})["data"]["signup"]
        return result

    def login(self, email: str, password: str = PASSWORD) -> dict[str, Any]:
        """Return what `login` answered."""
        result: dict[str, Any] = self.post(LOGIN, {"input": {"email": email, "password": password}})["data"]["login"]
        return result

    def me(self, token: str) -> Any:
        """Return the whole answer of `me`."""
        return self.post(ME, token=token)


def at_once(count: int, call: Callable[[int], T]) -> list[T]:
    """Call from so many threads at the same moment and return what they returned."""
    begin = threading.Barrier(count)

    def run(number: int) -> T:
        begin.wait()
        return call(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count)))
