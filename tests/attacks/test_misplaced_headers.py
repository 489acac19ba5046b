"""Headers where none belong, or twice where one counts: after the body, two hosts, none. Over real sockets."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gqlauth import Auth, Settings
from gqlauth.protocol import HeadersOnly
from tests import live
from tests.attackers import TIMEOUT, check_refusal, receive
from tests.processes import Server, serving
from tests.support import ME, PASSWORD, SESSIONS, SIGNUP

UPGRADE = (
    "connection: upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-protocol: graphql-transport-ws",
)
Address = tuple[str, int]


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that believes the proxy on this machine."""
    folder = tmp_path_factory.mktemp("proxied")
    with serving(folder, environment="test", bcrypt_cost="4", trusted_proxies="127.0.0.1") as running:
        yield running
        assert "Traceback" not in running.stop()


def ask(address: Address, *pieces: bytes) -> bytes:
    """Send the pieces, each in a segment of its own, and return what is answered until the connection is closed."""
    with socket.create_connection(address, timeout=TIMEOUT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        return receive(connection, ends=True)


def lines(*text: str) -> bytes:
    return "".join(f"{line}\r\n" for line in text).encode()


def chunked(query: str, *headers: str, trailers: tuple[str, ...], **variables: Any) -> tuple[bytes, bytes]:
    """Return a chunked request in two parts: up to its last chunk, and the trailer fields."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    start = ("POST /graphql HTTP/1.1", "host: x", "content-type: application/json", "transfer-encoding: chunked")
    head = lines(*start, *headers, "")
    return head + b"%x\r\n%s\r\n0\r\n" % (len(body), body), lines(*trailers, "")


def data(answer: bytes) -> Any:
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    return json.loads(answer.partition(b"\r\n\r\n")[2])


def sign_up(address: Address, email: str, *headers: str, trailers: tuple[str, ...], in_one: bool) -> str:
    """Return the access token of a new account."""
    variables = {"email": email, "password": PASSWORD}
    parts = chunked(SIGNUP, *headers, trailers=trailers, input=variables)
    answer = data(ask(address, *([b"".join(parts)] if in_one else parts)))
    token: str = answer["data"]["signup"]["accessToken"]
    return token


# After the body


@pytest.mark.parametrize("in_one", [True, False])
def test_a_token_in_a_trailer_signs_nobody_in(proxied: Server, in_one: bool) -> None:
    """RFC 9110 section 6.5.1: a trailer field is no header."""
    token = sign_up(proxied.address, f"trailer{in_one}@example.com", trailers=(), in_one=True)
    parts = chunked(ME, trailers=(f"authorization: Bearer {token}",))
    [error] = data(ask(proxied.address, *([b"".join(parts)] if in_one else parts)))["errors"]
    assert error["extensions"]["reason"] == "TOKEN_MISSING"


@pytest.mark.parametrize("in_one", [True, False])
def test_an_address_in_a_trailer_does_not_replace_that_of_the_proxy(proxied: Server, in_one: bool) -> None:
    trailers = ("x-forwarded-for: 198.51.100.99", "user-agent: trailer")
    forwarded = "x-forwarded-for: 203.0.113.7"
    token = sign_up(proxied.address, f"proxied{in_one}@example.com", forwarded, trailers=trailers, in_one=in_one)
    assert told_address(proxied, token) == "203.0.113.7"


def told_address(running: Server, token: str) -> str | None:
    headers = {"authorization": f"Bearer {token}"}
    answer = httpx2.post(running.url, json={"query": SESSIONS}, headers=headers).json()
    address: str | None = answer["data"]["sessions"][0]["ipAddress"]
    return address


def test_trailers_are_ignored_under_a_uvicorn_of_ones_own_that_uses_our_protocol(tmp_path: Path) -> None:
    auth = Auth(Settings(environment="test", bcrypt_cost=4, database_url=f"sqlite:///{tmp_path}/test.db"))
    with live.serving(auth, http=HeadersOnly) as client:
        token = client.signup("ada@example.com")["accessToken"]
        parts = chunked(ME, trailers=(f"authorization: Bearer {token}",))
        [error] = data(ask(("127.0.0.1", client.port), b"".join(parts)))["errors"]
        assert error["extensions"]["reason"] == "TOKEN_MISSING"


# What is no address


@pytest.mark.parametrize(
    ("forwarded", "told"),
    [
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:DB8::0:1]:4711", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("fe80::1%<script>", "fe80::1"),
        ("unknown", None),
        ("_hidden", None),
        ("<script>alert(1)</script>", None),
        ("203.0.113.7 or 1=1", None),
        ("203.0.113.07", None),
        ("[2001:db8::1", None),
        ("x" * 300, None),
    ],
)
def test_only_what_is_an_ip_address_is_stored_and_shown(proxied: Server, forwarded: str, told: str | None) -> None:
    email = f"address{abs(hash(forwarded))}@example.com"
    token = sign_up(proxied.address, email, f"x-forwarded-for: {forwarded}", trailers=(), in_one=True)
    assert told_address(proxied, token) == told


# Twice, or not at all

PATHS = ["/graphql", "/healthz", "/readyz", "/.well-known/jwks.json", "/", "/dashboard", "/nothing"]


def check_bad(answer: bytes) -> None:
    check_refusal(answer, 400, "BAD_REQUEST")
    assert re.search(rb"\r\nconnection: close\r\n", answer)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("hosts", [("host: x", "host: x"), ("host: x", "host: y"), ()])
def test_a_request_with_two_hosts_or_none_is_refused(proxied: Server, path: str, hosts: tuple[str, ...]) -> None:
    """RFC 9112 section 3.2."""
    check_bad(ask(proxied.address, lines(f"GET {path} HTTP/1.1", *hosts, "")))


@pytest.mark.parametrize("hosts", [("host: x", "host: y"), ()])
def test_so_is_a_handshake(proxied: Server, hosts: tuple[str, ...]) -> None:
    answer = ask(proxied.address, lines("GET /graphql HTTP/1.1", *hosts, *UPGRADE, ""))
    check_refusal(answer, 400, "BAD_REQUEST")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_probe_by_http_1_0_needs_no_host(proxied: Server, path: str) -> None:
    answer = ask(proxied.address, lines(f"GET {path} HTTP/1.0", ""))
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("origin: https://evil.example", "origin: http://x"),
        ("sec-fetch-site: same-origin", "sec-fetch-site: cross-site"),
        ("content-type: text/plain", "content-type: application/json"),
        ("content-type: application/json", "content-type: application/json"),
    ],
)
def test_a_header_of_which_one_counts_is_refused_twice(proxied: Server, first: str, second: str) -> None:
    """A proxy, a browser's rules and the server could each look at another one of the two."""
    check_bad(ask(proxied.address, lines("POST /graphql HTTP/1.1", "host: x", "content-length: 0", first, second, "")))


@pytest.mark.parametrize("lengths", [("content-length: 0", "content-length: 30"), ("content-length: 0",) * 2])
def test_two_lengths_are_refused(proxied: Server, lengths: tuple[str, ...]) -> None:
    """RFC 9112 section 6.3: request smuggling."""
    assert ask(proxied.address, lines("POST /graphql HTTP/1.1", "host: x", *lengths, "")).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("server", ["h11", "httptools"])
@pytest.mark.parametrize("hosts", [("host: x", "host: y"), ()])
def test_our_routes_refuse_it_under_other_servers_as_well(tmp_path: Path, server: str, hosts: tuple[str, ...]) -> None:
    auth = Auth(Settings(environment="test", bcrypt_cost=4, database_url=f"sqlite:///{tmp_path}/test.db"))
    with live.serving(auth, http=server) as client:
        for path in PATHS[:4]:
            answer = ask(("127.0.0.1", client.port), lines(f"GET {path} HTTP/1.1", *hosts, ""))
            assert answer.startswith(b"HTTP/1.1 400 ")
