"""WebSockets on the wire to a real `gqlauth serve`: handshakes that are none, and clients that send or take too much.

Slow loris and its relatives (ASVS 13.1.3).
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from gqlauth import protocol, sockets
from tests.attackers import TIMEOUT, WellBehaved, allow_sockets, head, receive, send
from tests.conftest import missing
from tests.processes import Server, serving_by
from tests.subscriptions.support import PROTOCOL

UPGRADE = ("upgrade: websocket", "connection: upgrade", f"sec-websocket-protocol: {PROTOCOL}")
KEY = ("sec-websocket-version: 13", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==")
IMPATIENT = """
from gqlauth import cli, protocol, server, websocket
protocol.TRANSFER_SECONDS = websocket.INIT_SECONDS = server.PING_SECONDS = 1
cli.main()
"""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a tenth of its patience, so that the tests need not wait as long as an attacker."""
    folder, program = tmp_path_factory.mktemp("target"), (sys.executable, "-c", IMPATIENT)
    with serving_by(program, folder, environment="test", bcrypt_cost="4") as running:
        with open_socket(running):
            pass  # it has begun to serve
        yield running
        errors = running.stop()
        assert "Traceback" not in errors
        assert "ERROR" not in errors


def open_socket(target: Server) -> ClientConnection:
    return connect(target.url.replace("http:", "ws:"), subprotocols=[Subprotocol(PROTOCOL)], proxy=None, legacy=True)


def closed(client: ClientConnection) -> tuple[int, str]:
    """Return how the server closes the socket; 1006 where it only cuts the connection."""
    with pytest.raises(ConnectionClosed) as close:
        while True:
            client.recv(TIMEOUT)
    return (close.value.rcvd.code, close.value.rcvd.reason) if close.value.rcvd else (1006, "")


def shake_hands(target: Server) -> socket.socket:
    """Return a plain socket that has become a WebSocket."""
    connection = socket.create_connection(target.address, timeout=TIMEOUT)
    connection.sendall(head(*UPGRADE, *KEY, method="GET"))
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += connection.recv(1)
    assert answer.startswith(b"HTTP/1.1 101 "), answer
    assert b"permessage-deflate" not in answer
    return connection


def frame(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (head(*UPGRADE, method="GET"), 400),
        (head(*UPGRADE, *KEY, "x: " + "x" * 9_000, method="GET"), 431),
        (head(*UPGRADE, *KEY, *(f"x{n}: x" for n in range(200)), method="GET"), 431),
        (head(*UPGRADE, *KEY, *(f"x{n}: {'x' * 4_000}" for n in range(5)), method="GET"), 431),
        (head(*UPGRADE, *KEY, method="GET").replace(b"/graphql", b"/nothing"), 403),
        (head(*UPGRADE, *KEY, method="GET").replace(b"/graphql", b"/graphql?" + b"x" * 9_000), 414),
        (head(*UPGRADE, *KEY), 405),
    ],
)
def test_a_handshake_that_is_none_is_answered_and_closed(target: Server, request_head: bytes, status: int) -> None:
    answer = send(target, request_head)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer


@pytest.mark.parametrize("pieces", [1, 200])
def test_a_message_over_the_limit_is_refused(target: Server, pieces: int) -> None:
    """ASVS 2.4.1: as a body is."""
    text = json.dumps({"type": "ping", "payload": {"a": "x" * 200_000}})
    size = len(text) // pieces + 1
    with open_socket(target) as client:
        with suppress(ConnectionClosed):  # the refusal may come while it still sends
            client.send(text if pieces == 1 else [text[at : at + size] for at in range(0, len(text), size)])
        # What is not read any more may cost the client the close frame: TCP resets the connection then.
        assert closed(client)[0] in (1009, 1006)


def test_a_message_in_countless_empty_pieces_is_refused(target: Server) -> None:
    with shake_hands(target) as connection:
        empty = frame(Opcode.CONT, b"", fin=False)
        answer = b""
        connection.sendall(frame(Opcode.TEXT, b"", fin=False) + empty * (protocol.MOST_FRAMES + 1))
        answer = receive(connection)
    assert answer.endswith(b"\x03\xf1too many frames")


def test_who_says_nothing_is_closed(target: Server) -> None:
    with open_socket(target) as client:
        assert closed(client) == (4408, "Connection initialisation timeout")


def test_who_trickles_a_message_is_closed(target: Server) -> None:
    with shake_hands(target) as connection:
        connection.sendall(b"\x81")
        assert b"\x88" in receive(connection)


def test_who_does_not_answer_a_ping_is_cut_off(target: Server) -> None:
    init = frame(Opcode.TEXT, b'{"type": "connection_init"}')
    with shake_hands(target) as connection:
        connection.sendall(init)
        answer = receive(connection)
    assert b"connection_ack" in answer
    assert b"\x03\xf3keepalive ping timeout" in answer


def test_who_takes_no_answers_is_cut_off(target: Server) -> None:
    """Neither the protocol's own pings nor WebSocket's fill the memory for a client that does not read."""
    before = open_files(target)
    for ping in (frame(Opcode.TEXT, b'{"type": "ping"}'), frame(Opcode.PING, b"x" * 125)):
        with shake_hands(target) as connection:
            connection.settimeout(2)
            connection.sendall(frame(Opcode.TEXT, b'{"type": "connection_init"}'))
            # The server takes no more, or has closed: which of them this end learns depends on the system.
            with pytest.raises((ConnectionError, TimeoutError)):
                while True:
                    connection.sendall(ping * 1_000)
            deadline = time.monotonic() + TIMEOUT
            while open_files(target) > before:
                assert time.monotonic() < deadline, "it is still open"
                time.sleep(0.05)


def open_files(target: Server) -> int:
    """Return how many files and sockets the server has open."""
    folder = Path(f"/proc/{target.process.pid}/fd")
    if not folder.exists():
        missing("this system has no /proc to count a process' open files in")
    return len(list(folder.iterdir()))


def test_an_open_socket_outlives_the_deadlines_of_http(target: Server) -> None:
    with open_socket(target) as client:
        client.send('{"type": "connection_init"}')
        assert client.recv(TIMEOUT) == '{"type":"connection_ack"}'
        # Three times as long as a request may take to come in.
        with pytest.raises(TimeoutError):
            client.recv(3)
        client.send('{"type": "ping"}')
        assert client.recv(TIMEOUT) == '{"type":"pong"}'


def test_others_are_served_while_sockets_wait(target: Server) -> None:
    allow_sockets(2_000)
    well_behaved = WellBehaved(target, "wire@example.com")
    connections = [shake_hands(target) for _ in range(100)]
    try:
        well_behaved.ask()
        with socket.create_connection(target.address, timeout=TIMEOUT) as connection:
            connection.sendall(head(*UPGRADE, *KEY, method="GET"))
            assert connection.recv(100).startswith(b"HTTP/1.1 101 ")
    finally:
        for connection in connections:
            connection.close()
        well_behaved.close()
    assert sockets.MOST_WAITING > 100
