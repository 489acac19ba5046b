"""The key set of a sibling service: fetched when it must be, kept while it may be, and never fetched without bound."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gqlauth import InvalidToken, KeysUnavailable, TokenVerifier, jwks, tokens
from gqlauth.tokens import SigningKey
from tests.forge import AUDIENCE, ISSUER, USER_ID, Mint, mint

LIFE = 300


class Publisher:
    """A server of keys that can be told what to answer."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = b""
        self.asked = 0
        self.open = threading.Event()
        self.open.set()

    def publish(self, issuer: Mint) -> None:
        self.status, self.body = 200, json.dumps(tokens.jwks(issuer.ring, issuer.algorithm)).encode()


class Server(ThreadingHTTPServer):
    """The same as a server."""

    daemon_threads = True
    publisher: Publisher


class Handler(BaseHTTPRequestHandler):
    """Answers as the publisher says."""

    server: Server

    def do_GET(self) -> None:
        publisher = self.server.publisher
        publisher.asked += 1
        publisher.open.wait(10)
        self.send_response(publisher.status)
        for name, value in publisher.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(publisher.body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.publisher = Publisher(f"http://127.0.0.1:{server.server_address[1]}/jwks.json")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.publisher
        server.publisher.open.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def first() -> SigningKey:
    return tokens.generate_key("ES256")


@pytest.fixture
def ours(first: SigningKey, publisher: Publisher) -> Mint:
    issuer = mint("ES256", tokens.key_ring(first, []))
    publisher.publish(issuer)
    return issuer


@pytest.fixture
def sibling(ours: Mint, publisher: Publisher) -> TokenVerifier:
    return TokenVerifier(
        jwks_url=publisher.url, issuer=ISSUER, audience=AUDIENCE, jwks_seconds=LIFE, timeout=5, clock=ours.clock
    )


def rotate(ours: Mint, first: SigningKey) -> None:
    ours.tokens.use(tokens.key_ring(tokens.generate_key("ES256"), [first]))


def refetched(sibling: TokenVerifier) -> None:
    """Wait for a fetch that nobody waits for."""
    assert isinstance(sibling._source, jwks.Published)
    fetching = sibling._source._fetching
    if fetching is not None:
        fetching.result(10)


def fresh(ours: Mint) -> str:
    """Return a token that lives to the end of these tests."""
    return ours.with_claims(exp=2**33)


def test_the_keys_are_fetched_once_and_kept(ours: Mint, sibling: TokenVerifier, publisher: Publisher) -> None:
    assert publisher.asked == 0
    for _ in range(3):
        assert sibling.verify(ours.issue()).user_id == USER_ID
        assert asyncio.run(sibling.verify_async(ours.issue())).user_id == USER_ID
    assert publisher.asked == 1


def test_many_that_come_first_share_one_fetch(ours: Mint, sibling: TokenVerifier, publisher: Publisher) -> None:
    publisher.open.clear()
    with ThreadPoolExecutor(8) as threads:
        waiting = [threads.submit(sibling.verify, ours.issue()) for _ in range(8)]

        async def together() -> None:
            verified = [asyncio.create_task(sibling.verify_async(ours.issue())) for _ in range(100)]
            gone = asyncio.create_task(sibling.verify_async(ours.issue()))
            await asyncio.sleep(0)
            # One client that goes away takes nothing from the others.
            gone.cancel()
            await asyncio.wait({gone})
            await asyncio.sleep(0.01)
            publisher.open.set()
            assert {token.user_id for token in await asyncio.gather(*verified)} == {USER_ID}
            assert gone.cancelled()

        asyncio.run(together())
        assert {done.result().user_id for done in waiting} == {USER_ID}
    assert publisher.asked == 1


def test_a_new_key_is_found_at_once(
    ours: Mint, first: SigningKey, sibling: TokenVerifier, publisher: Publisher
) -> None:
    old = fresh(ours)
    sibling.verify(old)
    rotate(ours, first)
    publisher.publish(ours)
    ours.clock.advance(jwks.PAUSE_SECONDS)
    assert sibling.verify(ours.issue()).user_id == USER_ID
    assert sibling.verify(old).user_id == USER_ID
    assert publisher.asked == 2


def test_unknown_keys_make_nobody_fetch_all_the_time(ours: Mint, sibling: TokenVerifier, publisher: Publisher) -> None:
    sibling.verify(ours.issue())
    for second in range(3 * jwks.PAUSE_SECONDS):
        for number in range(10):
            with pytest.raises(InvalidToken):
                sibling.verify(ours.with_header(kid=f"{second}-{number}"))
        ours.clock.advance(1)
    assert publisher.asked == 3


def test_what_is_no_access_token_makes_nobody_fetch(ours: Mint, sibling: TokenVerifier, publisher: Publisher) -> None:
    for token in ("x", ours.with_header(typ="JWT"), ours.with_header(alg="HS256"), ours.with_header(kid=["x"])):
        with pytest.raises(InvalidToken):
            sibling.verify(token)
    assert publisher.asked == 0


def test_a_key_that_is_taken_away_counts_no_longer_than_the_set_is_kept(
    ours: Mint, sibling: TokenVerifier, publisher: Publisher
) -> None:
    token = fresh(ours)
    sibling.verify(token)
    publisher.publish(mint("ES256", tokens.key_ring(tokens.generate_key("ES256"), [])))
    ours.clock.advance(LIFE - 1)
    sibling.verify(token)
    ours.clock.advance(1)
    # This one does not wait: its key is there, and the set is on its way.
    sibling.verify(token)
    refetched(sibling)
    with pytest.raises(InvalidToken):
        sibling.verify(token)
    assert publisher.asked == 2


def test_nobody_waits_for_a_slow_server_whose_key_is_there(
    ours: Mint, sibling: TokenVerifier, publisher: Publisher
) -> None:
    token = fresh(ours)
    sibling.verify(token)
    ours.clock.advance(LIFE)
    publisher.open.clear()
    assert sibling.verify(token) and asyncio.run(sibling.verify_async(token))
    publisher.open.set()
    refetched(sibling)
    assert publisher.asked == 2


BROKEN: dict[str, dict[str, Any]] = {
    "an error": {"status": 500},
    "nothing there": {"status": 404},
    "a redirection": {"status": 302, "headers": {"location": "/elsewhere"}},
    "no JSON": {"body": b"<html>"},
    "no text": {"body": b"\xff\xfe"},
    "no object": {"body": b"[]"},
    "no keys": {"body": b'{"keys": []}'},
    "nesting": {"body": b"[" * 90_000},
    "half an answer": {"headers": {"content-length": "100000"}, "body": b'{"keys"'},
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_without_keys_it_says_so_and_does_not_call_the_token_invalid(
    ours: Mint, sibling: TokenVerifier, publisher: Publisher, answer: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in answer.items():
        setattr(publisher, name, value)
    for _ in range(3):
        with pytest.raises(KeysUnavailable, match=publisher.url):
            sibling.verify(ours.issue())
    assert publisher.asked == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    publisher.headers = {}
    publisher.publish(ours)
    ours.clock.advance(jwks.PAUSE_SECONDS)
    assert sibling.verify(ours.issue()).user_id == USER_ID


def test_a_set_that_is_too_large_is_not_read(ours: Mint, sibling: TokenVerifier, publisher: Publisher) -> None:
    publisher.body += b" " * jwks.MAX_SET_BYTES
    with pytest.raises(KeysUnavailable):
        sibling.verify(ours.issue())
    publisher.body = publisher.body[: jwks.MAX_SET_BYTES]
    ours.clock.advance(jwks.PAUSE_SECONDS)
    assert sibling.verify(ours.issue()).user_id == USER_ID


def test_while_its_server_is_away_the_old_set_goes_on_for_a_day(
    ours: Mint, first: SigningKey, sibling: TokenVerifier, publisher: Publisher
) -> None:
    token = fresh(ours)
    sibling.verify(token)
    publisher.status = 503
    for _ in range(jwks.MAX_AGE_SECONDS // LIFE - 1):
        ours.clock.advance(LIFE)
        assert sibling.verify(token).user_id == USER_ID
        refetched(sibling)
    rotate(ours, first)
    # Of a key that nobody could look for, nothing is known.
    with pytest.raises(KeysUnavailable):
        sibling.verify(ours.issue())
    ours.clock.advance(LIFE)
    with pytest.raises(KeysUnavailable):
        sibling.verify(token)


def test_a_silent_server_is_given_up(ours: Mint, publisher: Publisher) -> None:
    impatient = TokenVerifier(jwks_url=publisher.url, issuer=ISSUER, audience=AUDIENCE, timeout=0.05, clock=ours.clock)
    publisher.open.clear()
    with pytest.raises(KeysUnavailable):
        impatient.verify(ours.issue())


def test_a_clock_that_is_set_back_makes_no_set_younger(
    ours: Mint, sibling: TokenVerifier, publisher: Publisher
) -> None:
    sibling.verify(ours.issue())
    ours.clock.advance(-3600)
    sibling.verify(ours.issue())
    refetched(sibling)
    assert publisher.asked == 2


def test_no_proxy_gets_what_is_meant_for_this_machine(
    ours: Mint, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    sibling = TokenVerifier(jwks_url=publisher.url, issuer=ISSUER, audience=AUDIENCE, clock=ours.clock)
    assert sibling.verify(ours.issue()).user_id == USER_ID
