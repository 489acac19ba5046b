"""WebSockets that are opened and say nothing, as many as one address can have: others still get in."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gqlauth import sockets
from tests.attackers import TIMEOUT, allow_sockets, head, receive
from tests.conftest import missing
from tests.processes import Server, serving_by

HANDSHAKE = head(
    "upgrade: websocket",
    "connection: upgrade",
    "sec-websocket-protocol: graphql-transport-ws",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    method="GET",
)
# On a busy machine, opening hundreds may take longer than a socket may be silent.
PATIENT = """
from gqlauth import cli, websocket
websocket.INIT_SECONDS = 600
cli.main()
"""


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, program = tmp_path_factory.mktemp("patient"), (sys.executable, "-c", PATIENT)
    with serving_by(program, folder, environment="test", bcrypt_cost="4") as running:
        yield running
        assert "Traceback" not in running.stop()


def knock(stack: ExitStack, running: Server, source: str) -> bytes:
    """Open a socket from this address of the machine, leave it open, and return what the handshake is answered."""
    try:
        connection = socket.create_connection(running.address, TIMEOUT, source_address=(source, 0))
    except OSError:
        missing(f"this system has no address {source}")
    stack.enter_context(connection)
    connection.sendall(HANDSHAKE)
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += connection.recv(1)
    return answer if answer.startswith(b"HTTP/1.1 101 ") else answer + receive(connection, ends=True)


def test_silent_sockets_of_one_address_keep_nobody_else_out(patient: Server) -> None:
    """With 500 of them, all places were taken."""
    allow_sockets(2_000)
    plenty, share = int(sockets.MOST_WAITING * sockets.SHORT_FROM), int(sockets.MOST_WAITING * sockets.SHARE)
    with ExitStack() as stack:
        for source, places in (("127.0.0.1", plenty), ("127.0.0.2", share), ("127.0.0.3", share)):
            answers = [knock(stack, patient, source) for _ in range(places + 1)]
            assert [answer[9:12] for answer in answers] == [b"101"] * places + [b"503"]
            assert b"TOO_MANY_SOCKETS" in answers[-1]
        assert knock(stack, patient, "127.0.0.4").startswith(b"HTTP/1.1 101 ")
