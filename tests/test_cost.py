"""What an attack costs: each is refused in plain words or cut off, cheaply, while everybody else is served.

Real sockets to a real `gqlauth serve`, because most of these never become a request that an application would see.
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from gqlauth import http, protocol, server
from tests.conftest import missing
from tests.processes import Server, serving, serving_by
from tests.support import ME, PASSWORD, SIGNUP

JSON = "application/json"
TIMEOUT = 30
# Each refusal takes a few milliseconds; here the machine may be a slow and busy one.
CPU_SECONDS = 0.5
IDLE = 1_000


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server as it comes, but for the cost of its hashes."""
    with serving(tmp_path_factory.mktemp("target"), environment="test", bcrypt_cost="4") as running:
        yield running
        assert "Traceback" not in running.stop()


IMPATIENT = """
from gqlauth import cli, http, protocol, server
http.BODY_SECONDS = 1
protocol.TRANSFER_SECONDS = server.KEEP_ALIVE_SECONDS = 2
cli.main()
"""


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same server, with a tenth of its patience, so that the tests need not wait as long as an attacker."""
    folder, program = tmp_path_factory.mktemp("impatient"), (sys.executable, "-c", IMPATIENT)
    with serving_by(program, folder, environment="test", bcrypt_cost="4") as running:
        yield running
        assert "Traceback" not in running.stop()


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


@pytest.fixture
def others(target: Server, request: pytest.FixtureRequest) -> Iterator[WellBehaved]:
    """Somebody else, who must not notice."""
    client = WellBehaved(target, f"user{abs(hash(request.node.name))}@example.com")
    yield client
    client.close()


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


# Requests that are large


def bomb(levels: int) -> str:
    spreads = (f"fragment F{n} on User {{ ...F{n + 1} ...F{n + 1} }}" for n in range(levels))
    return " ".join(["{ me { ...F0 } }", *spreads, f"fragment F{levels} on User {{ x: id y: id }}"])


DOCUMENTS = {
    "a fragment bomb": bomb(180),
    "10,000 directives": "{ __typename " + "@a " * 10_000 + "}",
    "2,000 fields": "{ me { " + "id " * 1_900 + "} }",
    "500 unknown fields": "{ me { " + " ".join(f"x{n}" for n in range(500)) + " } }",
    "200 aliases": "{ " + " ".join(f"a{n}: me {{ id }}" for n in range(200)) + " }",
    "deep selections": "{" + " me {" * 900 + " id" + " }" * 900 + " }",
    "deep lists": "{ me(a: " + "[" * 900 + "]" * 900 + ") { id } }",
    "250 unused fragments": "{ __typename } " + " ".join(f"fragment F{n} on User {{ id }}" for n in range(230)),
    "95,000 lines": "\n" * 47_000 + "{ nothing }",
    "one word of 95,000 letters": "{ " + "a" * 95_000 + " }",
    "twenty introspections": "{ " + " ".join(f"a{n}: __schema {{ types {{ name }} }}" for n in range(20)) + " }",
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_costly_document_is_refused_cheaply(target: Server, others: WellBehaved, name: str) -> None:
    """ASVS 13.1.3, 15.2.2; GHSA-mfj6-6p54-m98c."""
    times = 5
    request = document(DOCUMENTS[name]).replace(b"host: x", b"host: x\r\naccept: application/graphql-response+json")
    begin = cpu_seconds(target.process.pid)
    for _ in range(times):
        check_refusal(send(target, request, ends=True), 400)
    assert (cpu_seconds(target.process.pid) - begin) / times < CPU_SECONDS
    with meanwhile(lambda: [send(target, request, ends=True) for _ in range(times)]):
        for _ in range(times):
            others.ask()


MILLION = b'{"query": "{ me { ' + b"id " * 1_000_000 + b'} }"}'
HUGE = {
    "a million fields": ([post(MILLION)], 413, "CONTENT_TOO_LARGE"),
    "100 MB, announced": ([head("content-length: 100000000"), *[b" " * 65_536] * 1_600], 413, "CONTENT_TOO_LARGE"),
    "100 MB in chunks": (
        [head("transfer-encoding: chunked"), *[b"10000\r\n" + b" " * 65_536 + b"\r\n"] * 1_600],
        413,
        "CONTENT_TOO_LARGE",
    ),
    "100 MB of no JSON": (
        [head("content-length: 100000000").replace(JSON.encode(), b"text/plain"), *[b" " * 65_536] * 1_600],
        415,
        "UNSUPPORTED_MEDIA_TYPE",
    ),
    "a header of 1 MB, at once": ([head(f"x-filler: {'x' * 1_000_000}")], 431, "HEADERS_TOO_LARGE"),
    "a header without end": ([head()[:-2], b"x-filler: ", *[b"x" * 1_400] * 70_000], 431, "HEADERS_TOO_LARGE"),
    "headers without end": ([head()[:-2], *[b"x-filler: x\r\n" * 100] * 70_000], 431, "HEADERS_TOO_LARGE"),
    "an address without end": ([b"POST /graphql?", *[b"x" * 1_400] * 70_000], 431, "HEADERS_TOO_LARGE"),
}


@pytest.mark.parametrize("name", HUGE)
def test_what_is_huge_is_refused_and_the_connection_closed(target: Server, others: WellBehaved, name: str) -> None:
    """ASVS 4.2.1, 13.1.3: the server neither keeps it nor goes on reading it."""
    pieces, status, code = HUGE[name]
    begin = cpu_seconds(target.process.pid)
    with meanwhile(lambda: check_refusal(send(target, *pieces), status, code)) as attack:
        others.ask()
        while attack.is_alive():
            others.ask()
            attack.join(0.05)
    # The others' questions are in it too.
    assert cpu_seconds(target.process.pid) - begin < 4 * CPU_SECONDS


@pytest.mark.parametrize("piece", [b"5\r\n{    \r\n0\r\nx-filler: ", b"1;x="], ids=["trailer", "chunk extension"])
def test_what_follows_a_body_without_end_is_cut_off(target: Server, others: WellBehaved, piece: bytes) -> None:
    begin = cpu_seconds(target.process.pid)
    with meanwhile(lambda: send(target, head("transfer-encoding: chunked"), piece, *[b"x" * 65_536] * 1_600)):
        others.ask()
    others.ask()
    assert cpu_seconds(target.process.pid) - begin < 4 * CPU_SECONDS


@pytest.mark.parametrize(
    "body", [b"[" * 99_000, b'{"query":"{ __typename }","variables":' + b'{"a":' * 15_000 + b"1" + b"}" * 15_001]
)
def test_deeply_nested_json_is_refused(target: Server, others: WellBehaved, body: bytes) -> None:
    check_refusal(send(target, post(body), ends=True), 400, "BAD_REQUEST")
    others.ask()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"\x00" * 5_000,
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-length: " + b"9" * 5_000 + b"\r\n\r\n",
        b"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /graphql HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        b"POST /graphql HTTP/1.1\r\nhost: x\nx: \x00\r\n\r\n",
        b"POST /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_garbage_after_a_request_is_refused_and_the_request_answered(
    target: Server, others: WellBehaved, garbage: bytes
) -> None:
    """ASVS 4.2.1: nothing is smuggled behind a request; what cannot be read ends the connection."""
    request = document("{ __typename }")
    assert b'"__typename":"Query"' in send(target, request, ends=True)
    answer = send(target, request + garbage)
    assert answer.count(b"HTTP/1.1 200 ") <= 1
    assert re.findall(rb"HTTP/1.1 (?:[135]|2(?!00))", answer) == []
    assert re.match(rb"HTTP/1.1 4\d\d ", send(target, garbage)), garbage
    others.ask()


# Clients that are slow


def test_the_defaults_are_no_more_patient_than_they_say() -> None:
    assert (http.BODY_SECONDS, protocol.TRANSFER_SECONDS, server.KEEP_ALIVE_SECONDS) == (10, 20, 20)


def drip(running: Server, *first: bytes) -> bytes:
    """Send a byte every now and then, until the server has had enough; return what it answers."""
    with socket.create_connection(running.address, timeout=TIMEOUT) as connection, suppress(ConnectionError):
        for piece in first:
            connection.sendall(piece)
        for _ in range(10 * TIMEOUT):
            connection.sendall(b"a")
            if select.select([connection], [], [], 0.1)[0]:
                return receive(connection)
    raise AssertionError("it is still waiting")


@pytest.mark.parametrize(
    "first",
    [
        (b"POST /graphql?",),
        (b"POST /graphql HTTP/1.1\r\nhost: x\r\nx-filler: ",),
        (b"POST /graphql HTTP/1.1\r\nhost: x\r\nx-filler: a\r\n", b"x"),
    ],
)
def test_a_head_that_comes_a_byte_at_a_time_is_not_waited_for(impatient: Server, first: tuple[bytes, ...]) -> None:
    """Slow loris, ASVS 13.1.3."""
    check_refusal(drip(impatient, *first), 408, "REQUEST_TIMEOUT")


def test_a_body_that_comes_a_byte_at_a_time_is_not_waited_for(impatient: Server) -> None:
    answer = drip(impatient, head("content-length: 1000"), b"{")
    check_refusal(answer, 408, "REQUEST_TIMEOUT")
    assert b"connection: close\r\n" in answer


def test_chunks_of_a_byte_at_a_time_are_not_waited_for(impatient: Server) -> None:
    check_refusal(drip(impatient, head("transfer-encoding: chunked"), b"1\r\n{\r\nfff\r\n"), 408, "REQUEST_TIMEOUT")


def test_a_body_that_is_announced_and_never_sent_is_not_waited_for(impatient: Server) -> None:
    check_refusal(send(impatient, head("content-length: 1000")), 408, "REQUEST_TIMEOUT")


def test_a_connection_that_is_not_used_is_closed(impatient: Server) -> None:
    assert send(impatient) == b""


def test_a_connection_that_was_used_is_closed_as_well(impatient: Server) -> None:
    request = document("{ __typename }")
    for more in (b"", b"\r\n", b"POST /graphql HTTP/1.1\r\nhost:"):
        with socket.create_connection(impatient.address, timeout=TIMEOUT) as connection:
            connection.sendall(request)
            assert b'"__typename":"Query"' in receive(connection, ends=True)
            connection.sendall(more)
            assert receive(connection)[:13] in (b"", b"HTTP/1.1 408 ")


def unread(running: Server) -> socket.socket:
    """Return a connection on which little can be sent without being taken."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.settimeout(TIMEOUT)
    connection.connect(running.address)
    return connection


INTROSPECTION = document("{ __schema { types { name description fields { name description } } } }")


def test_a_client_that_does_not_take_its_answers_is_cut_off(impatient: Server) -> None:
    """It would hold what was written for it, and its connection, for as long as it likes."""
    with unread(impatient) as connection, pytest.raises(ConnectionError):
        for _ in range(10_000):
            connection.sendall(INTROSPECTION)
            # Not ahead of the answers: they are there, and stay there.
            select.select([connection], [], [], 0.01)
        raise AssertionError("it is still served")


def test_requests_ahead_of_their_answers_are_not_read_without_end(target: Server, others: WellBehaved) -> None:
    """100 MB of them, 500,000 requests, would wait in memory, at twenty times their size."""
    with unread(target) as connection, pytest.raises(ConnectionError):
        for _ in range(5_000):
            connection.sendall(INTROSPECTION * 100)
        raise AssertionError("it is still read")
    others.ask()


def test_a_few_requests_ahead_are_answered_in_order(target: Server) -> None:
    """RFC 9112 section 9.3.2."""
    last = document("{ second: __typename }").replace(b"host: x", b"host: x\r\nconnection: close")
    answer = send(target, document("{ first: __typename }") * 5 + last)
    assert [*re.findall(rb'"(first|second)"', answer)] == [b"first"] * 5 + [b"second"]


def test_a_client_that_goes_away_with_requests_waiting_leaves_no_traceback(target: Server) -> None:
    """The fixture looks at what the server has said."""
    login = document('mutation { login(input: {email: "a@b.co", password: ""}) { __typename } }')
    for _ in range(20):
        with socket.create_connection(target.address, timeout=TIMEOUT) as connection:
            connection.sendall(login + INTROSPECTION * 5)


def test_a_request_that_comes_in_pieces_is_served(impatient: Server) -> None:
    request = document("{ __typename }")
    with socket.create_connection(impatient.address, timeout=TIMEOUT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(3):
            for start in range(0, len(request), 7):
                connection.sendall(request[start : start + 7])
            assert b'"__typename":"Query"' in receive(connection, ends=True)


# Many clients


def allow_sockets(number: int) -> None:
    """Let this process open so many sockets."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < number:
        if hard != resource.RLIM_INFINITY and hard < number:
            missing(f"this system does not allow {number} open sockets")
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


def test_a_thousand_idle_and_slow_connections_keep_nobody_out(target: Server, others: WellBehaved) -> None:
    """ASVS 13.1.3: a connection costs next to nothing before it asks for something."""
    allow_sockets(IDLE + 500)
    begin = cpu_seconds(target.process.pid)
    with ExitStack() as stack:
        for number in range(IDLE):
            connection = stack.enter_context(socket.create_connection(target.address, timeout=TIMEOUT))
            connection.sendall((b"", b"POST /gra", head("content-length: 9"))[number % 3])
        for _ in range(20):
            others.ask()
        newcomer = WellBehaved(target, "newcomer@example.com")
        newcomer.ask()
        newcomer.close()
    others.ask()
    assert cpu_seconds(target.process.pid) - begin < 8 * CPU_SECONDS


def test_more_connections_than_the_usual_limit_of_files_are_held(tmp_path: Path) -> None:
    """A soft limit of 1,024 is what a server finds nearly everywhere; idle sockets would use it up."""
    allow_sockets(IDLE + 500)
    program = ("bash", "-c", 'ulimit -Sn 256; exec "$0" "$@"', str(Path(sys.executable).with_name("gqlauth")))
    with serving_by(program, tmp_path, environment="test", bcrypt_cost="4") as running, ExitStack() as stack:
        for _ in range(400):
            stack.enter_context(socket.create_connection(running.address, timeout=TIMEOUT))
        client = WellBehaved(running, "ada@example.com")
        client.ask()
        client.close()
