"""`gqlauth serve`: prepare the database, say what was done, and run uvicorn."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import click
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.supervisors import Multiprocess

from gqlauth import logs, migrations
from gqlauth.app import create_app
from gqlauth.errors import ConfigurationError
from gqlauth.http import LINGER_BYTES, HTTPError, raw_answer
from gqlauth.keys import service as keys
from gqlauth.runtime import create_runtime
from gqlauth.settings import Settings, show_url

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

logger = logging.getLogger("gqlauth")

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 20
SHUTDOWN_SECONDS = 10
# How long a client may take to send one request, or to take its answer.
TRANSFER_SECONDS = 20
# Requests that a client may send ahead of their answers. uvicorn would read and keep them without end.
MOST_PIPELINED = 16
# Most of the connections that may be open at once, where the system lets us choose.
OPEN_FILES = 65_536


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP, without its patience: it would wait for ever for a request's end, and hold a head of any size.

    A request that comes in one piece, as nearly all do, costs nothing more. `largest` is in bytes: of a head that comes
    in pieces, and of what follows a head (a body in the smallest chunks takes six times its size).
    """

    def __init__(self, *args: Any, largest: tuple[int, int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._largest_head, self._largest_rest = largest
        self._received = 0
        self._answering: RequestResponseCycle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a request from now on."""
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Take what came; look at size and time unless it was a request, whole."""
        before = self.cycle
        super().data_received(data)
        if len(self.pipeline) > MOST_PIPELINED:
            self.transport.abort()
        if self.cycle is not before:
            self._received = 0
            self._expect(self.cycle.more_body)
            return
        waiting = before is None or before.response_complete
        if waiting and self._deadline is None:
            self._received = 0
        self._received += len(data)
        if self._received > (self._largest_head if waiting else self._largest_rest):
            self._refuse(HTTPError(431, "HEADERS_TOO_LARGE", "The request is too large."))
        self._expect(waiting or before.more_body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines, and let the request that is being answered know, which may not be the last one."""
        self._expect(False)
        if self._answering is not None:
            self._answering.disconnected = True
            self._answering.message_event.set()
        self.pipeline.clear()
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for a client that does not take its answer, but not for ever."""
        super().pause_writing()
        self._write_deadline = self.loop.call_later(TRANSFER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client has taken enough."""
        super().resume_writing()
        if self._write_deadline is not None:
            self._write_deadline.cancel()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that is not used, also if its client has left an answer untaken."""
        self.transport.abort()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _expect(self, more: bool = True) -> None:
        """Set the deadline if more is to come of a request; it does not move while bytes trickle in."""
        if not more and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        elif more and self._deadline is None:
            self._deadline = self.loop.call_later(TRANSFER_SECONDS, self._late)

    def _late(self) -> None:
        message = f"The request did not come within {TRANSFER_SECONDS} seconds."
        self._refuse(HTTPError(408, "REQUEST_TIMEOUT", message))

    def _refuse(self, error: HTTPError) -> None:
        """Close the connection, with an answer if a request had begun. A WebSocket has left `connections`: not ours."""
        if self not in self.connections or self.transport.is_closing():
            return
        cycle = self.cycle
        if self._received if cycle is None or cycle.response_complete else not cycle.response_started:
            self.transport.write(raw_answer(error))
        self.transport.close()


def serve(settings: Settings, host: str, port: int, workers: int) -> None:
    """Serve until interrupted. Raises `ConfigurationError` where starting would fail or be unsafe."""
    logs.configure()
    prepared = prepare(settings)
    with _bind(host, port) as listener:
        address = "http://{}:{}".format(*_shown_address(listener))
        for line in [*prepared, f"listening  {address}/graphql", *_warnings(settings)]:
            click.echo(line)
        _run(settings, listener, workers)


def app() -> object:
    """Return the application of one worker process."""
    logs.configure()
    return create_app()


def prepare(settings: Settings) -> list[str]:
    """Create, migrate and check what the server needs; return what there is to say about it, a line each."""
    url = settings.url
    is_new = url.get_backend_name() == "sqlite" and not Path(url.database or "").exists()
    runtime = create_runtime(settings)
    try:
        migrated = migrations.upgrade(runtime.database)
        made_key = keys.ensure(runtime)
        keys.load(runtime)
    finally:
        runtime.database.dispose()
    done = "created, readable by you alone" if is_new else f"migrated to {migrations.HEAD}" if migrated else "found"
    key = "secret from GQLAUTH_SECRET_KEY" if settings.algorithm == "HS256" else "created" if made_key else "found"
    return [
        f"database   {show_url(url)} ({done})",
        f"key        {settings.algorithm} ({key})",
    ]


def _run(settings: Settings, listener: socket.socket, workers: int) -> None:
    largest = (4 * settings.max_header_bytes, 8 * settings.max_body_bytes + LINGER_BYTES)
    config = uvicorn.Config(
        "gqlauth.server:app",
        http=partial(Protocol, largest=largest),  # type: ignore[arg-type]
        factory=True,
        workers=workers,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    _allow_open_files()
    # uvicorn stops in order, then raises the signal once more. As an interrupt, SIGTERM too ends with exit code 0.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # What is imported by now stays; the collector need not walk it again at every full collection.
    gc.freeze()
    with suppress(KeyboardInterrupt):
        if workers == 1:
            uvicorn.Server(config).run(sockets=[listener])
        else:
            Multiprocess(config, sockets=[listener]).run()


def _allow_open_files() -> None:
    """Raise the usual limit of 1,024, which 1,000 idle sockets would use up."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # From here on clients wait in the queue until a worker is ready: the printed address is never refused.
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"cannot listen on {host} port {port}: {error.strerror}") from None
    listener.set_inheritable(True)
    return listener


def _shown_address(listener: socket.socket) -> tuple[str, int]:
    host, port = listener.getsockname()[:2]
    return (f"[{host}]" if ":" in host else host), port


def _warnings(settings: Settings) -> list[str]:
    if settings.production:
        return []
    return [
        f"settings   {settings.environment}: GraphiQL and introspection are open to everyone who reaches this address",
        "           set GQLAUTH_ENVIRONMENT=production before others do",
    ]
