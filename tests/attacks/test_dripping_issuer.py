"""An issuer, or somebody in between, that sends the keys a byte at a time: the verifier gives up at its deadline."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from gqlauth import KeysUnavailable, TokenVerifier, tokens
from tests.forge import AUDIENCE, ISSUER, Mint, mint

SECONDS_BETWEEN_BYTES = 0.05
# Whoever waits for every byte waits twenty seconds for these.
SLOW_BYTES = 400
PATIENCE = 30


class Dripper:
    """A server that answers each connection at once with some bytes, then slowly with others, and then completely."""

    def __init__(self, at_once: bytes, slowly: bytes, rest: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._answer = at_once, slowly, rest
        self._stopped = threading.Event()
        self.cut_off = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        with suppress(OSError):
            connection, _ = self._listener.accept()
            with connection:
                at_once, slowly, rest = self._answer
                connection.sendall(at_once)
                for byte in slowly:
                    if self._stopped.wait(SECONDS_BETWEEN_BYTES):
                        return
                    try:
                        connection.sendall(bytes([byte]))
                    except ConnectionError:
                        self.cut_off.set()
                        return
                connection.sendall(rest)

    def stop(self) -> None:
        self._stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def drip() -> Iterator[Callable[[bytes, bytes, bytes], Dripper]]:
    drippers: list[Dripper] = []

    def start(at_once: bytes, slowly: bytes, rest: bytes) -> Dripper:
        drippers.append(Dripper(at_once, slowly, rest))
        return drippers[-1]

    yield start
    for dripper in drippers:
        dripper.stop()


@pytest.fixture
def ours() -> Mint:
    return mint("ES256", tokens.key_ring(tokens.generate_key("ES256"), []))


STATUS = b"HTTP/1.1 200 OK\r\n"
FILLER = b"x" * SLOW_BYTES


@pytest.mark.parametrize("part", ["status", "headers", "body", "tls"])
def test_a_fetch_of_keys_has_a_deadline_for_the_whole_of_it(
    drip: Callable[[bytes, bytes, bytes], Dripper], ours: Mint, part: str
) -> None:
    """Each byte comes in time. A fetch that waited for all of them would get the keys, and this token would count."""
    keys = json.dumps(tokens.jwks(ours.ring, ours.algorithm)).encode()
    answers = {
        "status": (b"", b"HTTP/1.1 200 " + FILLER, b"\r\n\r\n" + keys),
        "headers": (STATUS, b"x-filler: " + FILLER, b"\r\n\r\n" + keys),
        "body": (STATUS + b"\r\n", b" " * SLOW_BYTES, keys),
        # A TLS record of 16 kB that is announced and does not come: here nothing would be the end but the deadline.
        "tls": (b"\x16\x03\x03\x40\x00", FILLER, b""),
    }
    dripper = drip(*answers[part])
    scheme = "https" if part == "tls" else "http"
    url = f"{scheme}://{dripper.authority}/jwks.json"
    verifier = TokenVerifier(jwks_url=url, issuer=ISSUER, audience=AUDIENCE, timeout=1, clock=ours.clock)
    with pytest.raises(KeysUnavailable):
        verifier.verify(ours.issue())
    assert dripper.cut_off.wait(PATIENCE), "the connection is still open"
