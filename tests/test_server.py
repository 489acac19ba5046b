"""`gqlauth serve` as a process: what it creates and says, how it ends, and why it does not start."""

from __future__ import annotations

import json
import signal
import socket
import stat
from pathlib import Path

import httpx2
import pytest

from gqlauth import Settings, migrations
from gqlauth.keys import service as keys
from gqlauth.runtime import create_runtime
from tests.processes import run, serving
from tests.support import LOGIN, ME, PASSWORD, SIGNUP

KEY = "kT3#vQ9!mZ7@xL2$wR8%nB5^jH4&pD6*"


def ask(url: str, query: str, token: str = "", **input: str) -> dict[str, dict[str, object]]:
    """Return the data of an answer."""
    body = {"query": query, "variables": {"input": input}}
    answer = httpx2.post(url, json=body, headers={"authorization": f"Bearer {token}"} if token else {}).json()
    assert "errors" not in answer, answer
    data: dict[str, dict[str, object]] = answer["data"]
    return data


def test_the_first_start_makes_everything_and_the_second_finds_it(tmp_path: Path) -> None:
    with serving(tmp_path, bcrypt_cost="10") as server:
        assert server.output == [
            "database   sqlite:///gqlauth.db (created, readable by you alone)",
            "key        ES256 (created)",
            f"listening  {server.url}",
        ]
        assert stat.S_IMODE((tmp_path / "gqlauth.db").stat().st_mode) == 0o600
        for file in tmp_path.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        payload = ask(server.url, SIGNUP, email="ada@example.com", password=PASSWORD)["signup"]
        errors = server.stop(signal.SIGINT)
    assert server.process.returncode == 0
    assert server.output[3:] == [
        "settings   development: GraphiQL and introspection are open to everyone who reaches this address",
        "           set GQLAUTH_ENVIRONMENT=production before others do",
    ]
    assert "user_signed_up" in errors
    assert "Traceback" not in errors
    assert PASSWORD not in errors

    elsewhere = {"public_url": "https://id.example", "issuer": "http://127.0.0.1:8000"}
    with serving(tmp_path, environment="production", **elsewhere) as again:
        assert again.output[:2] == ["database   sqlite:///gqlauth.db (found)", "key        ES256 (found)"]
        assert ask(again.url, ME, str(payload["accessToken"]))["me"] == payload["user"]
        assert again.stop(signal.SIGTERM) == ""
    assert again.process.returncode == 0
    assert len(again.output) == 3


def test_every_worker_answers_and_all_end_together(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2", bcrypt_cost="4", environment="test") as server:
        token = str(ask(server.url, SIGNUP, email="ada@example.com", password=PASSWORD)["signup"]["accessToken"])
        for _ in range(20):
            # A new connection each time, so that the answers come from both.
            assert ask(server.url, ME, token)["me"]["email"] == "ada@example.com"
        assert ask(server.url, LOGIN, email="ada@example.com", password=PASSWORD)["login"]["accessToken"]
        errors = server.stop(signal.SIGINT)
    assert server.process.returncode == 0
    assert "Traceback" not in errors
    with pytest.raises(ConnectionRefusedError), socket.create_connection(server.address):
        pass


def test_a_request_that_runs_is_answered_before_the_end(tmp_path: Path) -> None:
    with serving(tmp_path, bcrypt_cost="12") as server:
        body = json.dumps({"query": LOGIN, "variables": {"input": {"email": "a@b.co", "password": PASSWORD}}})
        head = f"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        with socket.create_connection(server.address) as connection:
            connection.sendall(f"{head}\r\n\r\n{body}".encode())
            # The answer to a second request says that the first has been read.
            httpx2.get(f"{server.root}/healthz")
            errors = server.stop(signal.SIGTERM)
            assert b"INVALID_CREDENTIALS" in connection.recv(10_000)
    assert server.process.returncode == 0
    assert "Traceback" not in errors


def fails(folder: Path, *arguments: str, **variables: str) -> str:
    """Run `gqlauth serve`, which must not start, and return its one line."""
    done = run("serve", *(arguments or ("--port", "0")), folder=folder, **variables)
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("gqlauth: ")
    return line


def test_a_port_in_use_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert (
            fails(tmp_path, "--port", port)
            == f"gqlauth: cannot listen on 127.0.0.1 port {port}: Address already in use"
        )


def test_a_key_of_another_encryption_key_is_told_in_one_line(tmp_path: Path) -> None:
    runtime = create_runtime(Settings(database_url=f"sqlite:///{tmp_path}/gqlauth.db", key_encryption_key=KEY))
    migrations.upgrade(runtime.database)
    keys.ensure(runtime)
    runtime.database.dispose()
    line = fails(tmp_path, key_encryption_key=KEY[::-1])
    assert "cannot be read: it is damaged, or GQLAUTH_KEY_ENCRYPTION_KEY is not the one" in line


def test_a_key_of_development_is_encrypted_by_the_first_start_that_can(tmp_path: Path) -> None:
    with serving(tmp_path):
        pass
    production = {"environment": "production", "public_url": "https://id.example", "key_encryption_key": KEY}
    with serving(tmp_path, **production) as server:
        assert server.output[2] == "key        encrypted 1 under GQLAUTH_KEY_ENCRYPTION_KEY"
        assert b"PRIVATE KEY" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    with serving(tmp_path, **production) as server:
        assert len(server.output) == 3


def test_what_weakens_a_server_is_told_at_start(tmp_path: Path) -> None:
    with serving(tmp_path):
        pass
    (tmp_path / "gqlauth.db").chmod(0o644)
    with serving(tmp_path, rate_limits="off", algoritm="ES256", trusted_proxies="*") as server:
        # Its answer says that everything has been told.
        httpx2.get(f"{server.root}/healthz")
        server.stop()
    assert "database   others can read the file; run: chmod 600 gqlauth.db" in server.output
    told = "\n".join(server.output)
    assert "settings   GQLAUTH_RATE_LIMITS is off, so passwords can be guessed without limit" in told
    assert "settings   nothing reads GQLAUTH_ALGORITM; is it misspelled?" in told
    assert "settings   GQLAUTH_TRUSTED_PROXIES: * is not an IP address" in told


def test_a_misspelled_variable_stops_a_start_in_production(tmp_path: Path) -> None:
    line = fails(tmp_path, environment="production", rate_limit="on")
    assert line == "gqlauth: nothing reads GQLAUTH_RATE_LIMIT: correct the name, or unset it"
