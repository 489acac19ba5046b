"""Clients that send slowly, never, or far too much ahead, and those that do not take their answers: none is waited for.

Slow loris and its relatives (ASVS 13.1.3), over real sockets to a real `gqlauth serve`.
"""

from __future__ import annotations

import re
import select
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from gqlauth import http, protocol, server
from tests.attackers import (
    CPU_SECONDS,
    TIMEOUT,
    WellBehaved,
    allow_sockets,
    check_refusal,
    cpu_seconds,
    document,
    head,
    receive,
    send,
)
from tests.processes import Server, serving_by

IDLE = 1_000


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
