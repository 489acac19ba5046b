"""What an attack costs: each is refused in plain words or cut off, cheaply, while everybody else is served.

Real sockets to a real `gqlauth serve`, because most of these never become a request that an application would see.
"""

from __future__ import annotations

import re

import pytest

from tests.attackers import (
    CPU_SECONDS,
    JSON,
    WellBehaved,
    check_refusal,
    cpu_seconds,
    document,
    head,
    meanwhile,
    post,
    send,
)
from tests.processes import Server

# Requests that are large


def bomb(levels: int) -> str:
    spreads = (f"fragment F{n} on User {{ ...F{n + 1} ...F{n + 1} }}" for n in range(levels))
    return " ".join(["{ me { ...F0 } }", *spreads, f"fragment F{levels} on User {{ x: id y: id }}"])


DOCUMENTS = {
    "a fragment bomb": bomb(100),
    "10,000 directives": "{ __typename " + "@a " * 10_000 + "}",
    "900 fields": "{ me { " + "id " * 900 + "} }",
    "900 unknown fields": "{ me { " + " ".join(f"x{n}" for n in range(900)) + " } }",
    "200 aliases": "{ " + " ".join(f"a{n}: me {{ id }}" for n in range(200)) + " }",
    "deep selections": "{" + " me {" * 450 + " id" + " }" * 450 + " }",
    "deep lists": "{ me(a: " + "[" * 450 + "]" * 450 + ") { id } }",
    "120 unused fragments": "{ __typename } " + " ".join(f"fragment F{n} on User {{ id }}" for n in range(120)),
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
