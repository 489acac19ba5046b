"""`gqlauth serve`: prepare the database, say what was done, and run uvicorn."""

from __future__ import annotations

import gc
import logging
import socket
from contextlib import suppress
from pathlib import Path

import click
import uvicorn
from uvicorn.supervisors import Multiprocess

from gqlauth import logs, migrations
from gqlauth.app import create_app
from gqlauth.errors import ConfigurationError
from gqlauth.keys import service as keys
from gqlauth.runtime import create_runtime
from gqlauth.settings import Settings

logger = logging.getLogger("gqlauth")

KEEP_ALIVE_SECONDS = 20
SHUTDOWN_SECONDS = 10
BACKLOG = 2048


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
        f"database   {url.render_as_string(hide_password=True)} ({done})",
        f"key        {settings.algorithm} ({key})",
    ]


def _run(settings: Settings, listener: socket.socket, workers: int) -> None:
    config = uvicorn.Config(
        "gqlauth.server:app",
        factory=True,
        workers=workers,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    # What is imported by now stays; the collector need not walk it again at every full collection.
    gc.freeze()
    with suppress(KeyboardInterrupt):
        if workers == 1:
            uvicorn.Server(config).run(sockets=[listener])
        else:
            Multiprocess(config, sockets=[listener]).run()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # From now on clients wait in the queue: who reads the address below may come before the first worker is ready.
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
