"""Clients that mean no good, over plain sockets, and one that does, to see that it does not notice."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from tests.conftest import missing
from tests.processes import Server
from tests.support import ME, PASSWORD, SIGNUP

JSON = "application/json"
TIMEOUT = 30
# Each refusal takes a few milliseconds; here the machine may be a slow and busy one.
CPU_SECONDS = 0.5


class WellBehaved:
    """A client that signs up and then asks `me`."""

    def __init__(self, running: Server, email: str) -> None:
        self._http = httpx2.Client(base_url=running.root, timeout=TIMEOUT)
        variables = {"input": {"email": email, "password": PASSWORD}}
        answer = self._http.post("/graphql", json={"query": SIGNUP, "variables": variables}).json()
        self._user = answer["data"]["signup"]["user"]
        self._headers = {"authorization": f"Bearer {answer['data']['signup']['accessToken']}"}

    def ask(self) -> None:
        """Ask `me` and look at the answer."""
        answer = self._http.post("/graphql", json={"query": ME}, headers=self._headers)
        assert (answer.status_code, answer.json()) == (200, {"data": {"me": self._user}})

    def close(self) -> None:
        self._http.close()


@contextmanager
def meanwhile(attack: Callable[[], object]) -> Iterator[threading.Thread]:
    """Run an attack beside the block, and wait for its end. What goes wrong in it is raised."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            attack()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield thread
    thread.join()
    if failed:
        raise failed[0]


def cpu_seconds(process: int) -> float:
    """Return the CPU time that a process has taken so far, all its threads together."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        missing("this system has no /proc to read a process' CPU time from")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def send(running: Server, *pieces: bytes, ends: bool = False) -> bytes:
    """Send as much as is taken, and return all that is answered until the server closes or, with `ends`, is done."""
    with socket.create_connection(running.address, timeout=TIMEOUT) as connection:
        with suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
        return receive(connection, ends=ends)


def receive(connection: socket.socket, *, ends: bool = False) -> bytes:
    """Return what is answered until the connection is closed (or one answer is complete)."""
    answer = b""
    with suppress(ConnectionError):
        while part := connection.recv(65_536):
            answer += part
            if ends and is_whole(answer):
                break
    return answer


def is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    return bool(end and length and len(body) >= int(length[1]))


def head(*lines: str, method: str = "POST") -> bytes:
    return "\r\n".join((f"{method} /graphql HTTP/1.1", "host: x", f"content-type: {JSON}", *lines, "", "")).encode()


def post(body: bytes) -> bytes:
    return head(f"content-length: {len(body)}") + body


def document(query: str) -> bytes:
    return post(json.dumps({"query": query}).encode())


def check_refusal(answer: bytes, status: int, code: str | None = None) -> None:
    """Check that one answer was given, in the shape of a GraphQL answer."""
    begin, _, body = answer.partition(b"\r\n\r\n")
    assert begin.startswith(b"HTTP/1.1 %d " % status), answer[:300]
    [*errors] = json.loads(body)["errors"]
    assert 1 <= len(errors) <= 3
    if code is not None:
        assert errors[0]["extensions"] == {"code": code}
    assert len(answer) < 2_000


def allow_sockets(number: int) -> None:
    """Let this process open so many sockets."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < number:
        if hard != resource.RLIM_INFINITY and hard < number:
            missing(f"this system does not allow {number} open sockets")
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
