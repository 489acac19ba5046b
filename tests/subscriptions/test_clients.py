"""The npm client graphql-ws, in Node.js, with real servers: what a frontend sees."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests import npm
from tests.conftest import missing
from tests.processes import Server, run, serving
from tests.subscriptions.support import SESSION_ENDED
from tests.support import LOGIN, PASSWORD, REFRESH, REVOKE_OTHERS, SIGNUP

HERE = Path(__file__).parent
TIMEOUT = 60
CHEAP = {"environment": "test", "bcrypt_cost": "4"}
EMAIL = "ada@example.com"


@pytest.fixture(scope="session")
def packages(pytestconfig: pytest.Config) -> Path:
    """A folder with the client and its packages; installed once, kept in pytest's cache."""
    folder = npm.install(HERE / "package.json", pytestconfig)
    shutil.copy(HERE / "client.js", folder)
    return folder


class Node:
    """Clients in one process of Node.js, each with a name."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._heard: list[dict[str, Any]] = []

    def subscribe(self, name: str, query: str = SESSION_ENDED, **options: Any) -> None:
        """Open a socket and subscribe."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"name": name, "query": query, **options}) + "\n")
        self._process.stdin.flush()

    def hears(self, name: str, **event: Any) -> None:
        """Wait for exactly this as what happens next to this client."""
        happened = self._next(name)
        assert happened == {"name": name, **event}

    def _next(self, name: str) -> dict[str, Any]:
        assert self._process.stdout
        while True:
            for event in self._heard:
                if event["name"] == name:
                    self._heard.remove(event)
                    return event
            line = self._process.stdout.readline()
            assert line, "nothing came in time"
            self._heard.append(json.loads(line))


@contextmanager
def node_speaking_to(server: Server, packages: Path) -> Iterator[Node]:
    node = shutil.which("node") or missing("node runs graphql-ws")
    command = [node, "client.js", server.url.replace("http:", "ws:")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=packages, stdin=pipe, stdout=pipe, text=True) as process:
        timer = threading.Timer(TIMEOUT, process.kill)
        timer.start()
        try:
            yield Node(process)
        finally:
            timer.cancel()
            process.kill()


def post(server: Server, query: str, token: str = "", /, **variables: Any) -> dict[str, Any]:
    """Return the data of an answer. Each time a new connection: any of the workers may answer."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    answer = httpx2.post(server.url, json={"query": query, "variables": variables}, headers=headers, timeout=TIMEOUT)
    data: dict[str, Any] = answer.json()["data"]
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    """Two workers: sockets and requests meet in either."""
    with serving(folder, "--workers", "2", **CHEAP) as server:
        yield server
        assert "Traceback" not in server.stop()


@pytest.fixture
def node(server: Server, packages: Path) -> Iterator[Node]:
    with node_speaking_to(server, packages) as node:
        yield node


def sign_up(server: Server, email: str) -> dict[str, Any]:
    payload: dict[str, Any] = post(server, SIGNUP, input={"email": email, "password": PASSWORD})["signup"]
    return payload


def log_in(server: Server, email: str) -> str:
    payload = post(server, LOGIN, input={"email": email, "password": PASSWORD})["login"]
    return str(payload["accessToken"])


def expect_end(node: Node, name: str, session_id: str, reason: str) -> None:
    node.hears(name, next={"data": {"sessionEnded": {"sessionId": session_id, "reason": reason}}})


def test_a_session_revoked_on_another_device_is_told_and_closed(node: Node, server: Server) -> None:
    first = sign_up(server, "first@example.com")["accessToken"]
    [session] = post(server, "{ sessions { id } }", first)["sessions"]
    # Enough of them to be at both workers, of which only one hears of it.
    names = [f"tab {number}" for number in range(8)]
    for name in names:
        node.subscribe(name, params={"Authorization": f"Bearer {first}"})
        node.hears(name, connected=True)
    assert post(server, REVOKE_OTHERS, log_in(server, "first@example.com")) == {"revokeOtherSessions": 1}
    for name in names:
        expect_end(node, name, session["id"], "SESSION_REVOKED")
        node.hears(name, complete=True)
        node.hears(name, code=4401, reason="SESSION_REVOKED")


def test_a_session_revoked_on_the_command_line_is_told_and_closed(node: Node, server: Server, folder: Path) -> None:
    token = sign_up(server, "second@example.com")["accessToken"]
    [session] = post(server, "{ sessions { id } }", token)["sessions"]
    node.subscribe("a", params={"authToken": token})
    node.hears("a", connected=True)
    assert run("sessions", "revoke", session["id"], folder=folder, **CHEAP).returncode == 0
    expect_end(node, "a", session["id"], "SESSION_REVOKED")
    node.hears("a", complete=True)
    node.hears("a", code=4401, reason="SESSION_REVOKED")


def test_an_account_disabled_on_the_command_line_is_told_and_closed(node: Node, server: Server, folder: Path) -> None:
    token = sign_up(server, "third@example.com")["accessToken"]
    [session] = post(server, "{ sessions { id } }", token)["sessions"]
    node.subscribe("a", params={"authToken": token})
    node.hears("a", connected=True)
    assert run("users", "disable", "third@example.com", folder=folder, **CHEAP).returncode == 0
    expect_end(node, "a", session["id"], "ACCOUNT_DISABLED")


def test_a_bad_token_and_a_cookie_from_another_site_are_closed(node: Node, server: Server) -> None:
    node.subscribe("bad", params={"Authorization": "Bearer nonsense"})
    node.hears("bad", code=4403, reason="TOKEN_INVALID")
    cookie = f"gqlauth-access={sign_up(server, 'fourth@example.com')['accessToken']}"
    node.subscribe("foreign", headers={"cookie": cookie, "origin": "https://evil.example"})
    node.hears("foreign", code=4403, reason="ORIGIN_NOT_ALLOWED")
    node.subscribe("ours", headers={"cookie": cookie, "origin": server.root})
    node.hears("ours", connected=True)


def test_nobody_is_let_in_and_refused_by_the_guard(node: Node) -> None:
    node.subscribe("nobody")
    node.hears("nobody", connected=True)
    assert node._next("nobody")["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED", "reason": "TOKEN_MISSING"}


def test_a_token_expires_and_its_successor_connects_again(tmp_path: Path, packages: Path) -> None:
    with serving(tmp_path, access_token_seconds="2", **CHEAP) as server, node_speaking_to(server, packages) as node:
        first = sign_up(server, EMAIL)
        node.subscribe("first", params={"authToken": first["accessToken"]})
        node.hears("first", connected=True)
        node.hears("first", code=4401, reason="TOKEN_EXPIRED")
        node.subscribe("late", params={"authToken": first["accessToken"]})
        node.hears("late", code=4403, reason="TOKEN_EXPIRED")
        second = post(server, REFRESH, token=first["refreshToken"])["refreshToken"]
        node.subscribe("second", params={"authToken": second["accessToken"]})
        node.hears("second", connected=True)
        errors = server.stop()
    assert "Traceback" not in errors


def test_a_server_that_stops_says_so_and_leaves_nothing_behind(tmp_path: Path, packages: Path) -> None:
    with serving(tmp_path, **CHEAP) as server, node_speaking_to(server, packages) as node:
        token = sign_up(server, EMAIL)["accessToken"]
        for name in ("a", "b"):
            node.subscribe(name, params={"authToken": token})
            node.hears(name, connected=True)
        errors = server.stop()
        for name in ("a", "b"):
            node.hears(name, code=1012, reason="")
    assert server.process.returncode == 0
    for complaint in ("Traceback", "destroyed", "never awaited"):
        assert complaint not in errors
