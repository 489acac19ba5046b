"""`gqlauth serve`: prepare the database, say what was done, and run uvicorn."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path

import click
import uvicorn
from uvicorn.supervisors import Multiprocess

from gqlauth import logs, migrations
from gqlauth.app import create_app
from gqlauth.errors import ConfigurationError
from gqlauth.http import LINGER_BYTES
from gqlauth.keys import service as keys
from gqlauth.protocol import Protocol, SocketProtocol
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
# How often a WebSocket's client is asked whether it is there, and how long it may take to say so.
PING_SECONDS = 20
# Most of the connections that may be open at once, where the system lets us choose.
OPEN_FILES = 65_536


def serve(settings: Settings, host: str, port: int, workers: int) -> None:
    """Serve until interrupted. Raises `ConfigurationError` where starting would fail or be unsafe."""
    logs.configure()
    prepared = prepare(settings)
    with _bind(host, port) as listener:
        address = "http://{}:{}".format(*_shown_address(listener))
        for line in [*prepared, f"listening  {address}/graphql", *_warnings(settings)]:
            click.echo(logs.printable(line))
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
        encrypted = keys.protect(runtime)
        keys.load(runtime)
        readable = runtime.database.readable_by_others()
    finally:
        runtime.database.dispose()
    done = "created, readable by you alone" if is_new else f"migrated to {migrations.HEAD}" if migrated else "found"
    key = "secret from GQLAUTH_SECRET_KEY" if settings.algorithm == "HS256" else "created" if made_key else "found"
    return [
        f"database   {show_url(url)} ({done})",
        *(f"database   others can read the file; run: chmod 600 {file}" for file in readable),
        f"key        {settings.algorithm} ({key})",
        *([f"key        encrypted {encrypted} under GQLAUTH_KEY_ENCRYPTION_KEY"] if encrypted else []),
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
        ws=SocketProtocol,
        ws_max_size=settings.max_body_bytes,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        # Each socket would hold some 60 kB for it; and what is compressed together tells of what is secret in it.
        ws_per_message_deflate=False,
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
    told = [f"settings   {weakness}" for weakness in settings.weaknesses(os.environ)]
    if settings.production:
        return told
    return [
        *told,
        f"settings   {settings.environment}: GraphiQL and introspection are open to everyone who reaches this address",
        "           set GQLAUTH_ENVIRONMENT=production before others do",
    ]
