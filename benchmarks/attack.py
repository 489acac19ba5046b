"""`python -m benchmarks.attack`: what attacks cost the server, and what everybody else notices of them.

For each attack: the CPU that one refusal takes (all of the server's threads together), and the p99 of `me` of a client
that asks every few milliseconds while the attack goes on. Asked for: 50 ms of CPU and a p99 of 100 ms at most.
Linux only: CPU times come from /proc.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Connection, encode
from benchmarks.measures import ME, PROBE_PAUSE_SECONDS
from benchmarks.subjects import Subject, gqlauth

SECONDS = 4.0
REFUSALS = 20
IDLE = 1_000
CPU_MS, P99_MS = 50, 100
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Attack:
    """What is sent on one connection, over and over."""

    name: str
    pieces: list[bytes]
    is_served: bool = False


def head(*lines: str) -> bytes:
    """Return the head of a request."""
    fixed = ("host: x", "content-type: application/json", "accept: application/graphql-response+json")
    return "\r\n".join(("POST /graphql HTTP/1.1", *fixed, *lines, "", "")).encode()


def post(body: bytes) -> list[bytes]:
    """Return a request that announces its length."""
    return [head(f"content-length: {len(body)}") + body]


def document(query: str) -> list[bytes]:
    """Return a request for a document."""
    return post(json.dumps({"query": query}).encode())


def bomb(levels: int) -> str:
    """Return fragments that each spread the next one twice."""
    spreads = (f"fragment F{n} on User {{ ...F{n + 1} ...F{n + 1} }}" for n in range(levels))
    return " ".join(["{ me { ...F0 } }", *spreads, f"fragment F{levels} on User {{ x: id y: id }}"])


BLANKS = b" " * 65_536
ATTACKS = [
    Attack("fragment bomb, 2^100", document(bomb(100))),
    Attack("10,000 directives", document("{ __typename " + "@a " * 10_000 + "}")),
    Attack("900 fields of one name", document("{ me { " + "id " * 900 + "} }")),
    Attack(
        "120 unused fragments", document("{ id } " + " ".join(f"fragment F{n} on User {{ id }}" for n in range(120)))
    ),
    Attack("95,000 lines", document("\n" * 47_000 + "{ nothing }")),
    Attack("a million fields", post(b'{"query": "{ me { ' + b"id " * MEGABYTE + b'} }"}')),
    Attack("JSON, 99,000 deep", post(b"[" * 99_000)),
    Attack("100 MB, announced", [head(f"content-length: {100 * MEGABYTE}"), *[BLANKS] * 1_600]),
    Attack("100 MB in chunks", [head("transfer-encoding: chunked"), *[b"10000\r\n%s\r\n" % BLANKS] * 1_600]),
    Attack("a header of 1 MB", [head("x-filler: " + "x" * MEGABYTE)]),
    Attack("a header without end", [head()[:-2], b"x-filler: ", *[b"x" * 1_400] * 70_000]),
    Attack("a trailer without end", [head("transfer-encoding: chunked"), b"0\r\nx-filler: ", *[BLANKS] * 1_600]),
    Attack("requests ahead, answers not read", [document("{ __schema { types { name } } }")[0] * 200] * 1_000, True),
    Attack("garbage", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 100]),
]


def refused(port: int, attack: Attack) -> bytes:
    """Carry out an attack once, as far as it is let, and return the first of what is answered."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        with contextlib.suppress(ConnectionError):
            for piece in attack.pieces:
                connection.sendall(piece)
        with contextlib.suppress(ConnectionError):
            return connection.recv(65_536)
    return b""


def cpu_ms(subject: Subject) -> float:
    """Return the CPU time of the server in milliseconds, all its threads together."""
    tasks = Path(f"/proc/{subject.process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6


def cost(subject: Subject, attack: Attack) -> float:
    """Return the CPU milliseconds of one refusal, the median of some."""
    taken = []
    for _ in range(REFUSALS):
        begin = cpu_ms(subject)
        answer = refused(subject.port, attack)
        if answer and not answer.startswith(b"HTTP/1.1 4") and not attack.is_served:
            raise RuntimeError(f"{attack.name} was served: {answer[:200]!r}")
        time.sleep(0.02)
        taken.append(cpu_ms(subject) - begin)
    return statistics.median(taken)


@contextlib.contextmanager
def going_on(act: Callable[[], object]) -> Iterator[None]:
    """Do this again and again, in a thread, until the block ends."""
    done = threading.Event()

    def run() -> None:
        while not done.is_set():
            act()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextlib.contextmanager
def connections(subject: Subject, *beginnings: bytes) -> Iterator[None]:
    """Hold 1,000 connections that have sent no more than this."""
    with ExitStack() as stack:
        for number in range(IDLE):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", subject.port)))
            connection.sendall(beginnings[number % len(beginnings)])
        yield


@contextlib.contextmanager
def slow_loris(subject: Subject) -> Iterator[None]:
    """Hold 1,000 connections that go on a byte at a time."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_connection(("127.0.0.1", subject.port))) for _ in range(IDLE)]
        for number, one in enumerate(sockets):
            one.sendall(head("content-length: 1000") if number % 2 else b"POST /graphql HTTP/1.1\r\nx-filler: ")

        def drip() -> None:
            for one in sockets:
                with contextlib.suppress(OSError):
                    one.send(b"a")
            time.sleep(0.5)

        stack.enter_context(going_on(drip))
        yield


def p99(subject: Subject) -> float:
    """Return the p99 of `me` in milliseconds."""
    request = encode(ME, subject.token.read_text())

    async def run() -> list[float]:
        connection, taken = await Connection.open(subject.port), []
        end = time.perf_counter() + SECONDS
        while (begin := time.perf_counter()) < end:
            status, body = await connection.ask(request)
            taken.append(time.perf_counter() - begin)
            if status != 200 or b"ada@example.com" not in body:
                raise RuntimeError(f"me answers {status} {body!r}")
            await asyncio.sleep(PROBE_PAUSE_SECONDS)
        connection.close()
        return taken

    return statistics.quantiles(asyncio.run(run()), n=100)[98] * 1000


def main() -> None:
    """Run."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4 * IDLE), hard), hard))
    with tempfile.TemporaryDirectory(prefix="gqlauth-attack-") as name, ExitStack() as stack:
        folder = Path(name)
        subject = stack.enter_context(gqlauth("gqlauth", f"sqlite:///{folder}/gqlauth.db", folder))
        print(f"{'':<36}{'CPU ms each':>14}{'p99 of me, ms':>16}")
        print(row("nothing", None, p99(subject)))
        for attack in ATTACKS:
            each = cost(subject, attack)
            with going_on(lambda attack=attack: refused(subject.port, attack)):  # type: ignore[misc]
                print(row(attack.name, each, p99(subject)), flush=True)
        with connections(subject, b"", b"POST /gra", head("content-length: 9")):
            print(row(f"{IDLE:,} idle connections", None, p99(subject)), flush=True)
        with slow_loris(subject):
            print(row(f"{IDLE:,} a byte at a time", None, p99(subject)), flush=True)


def row(name: str, cpu: float | None, tail: float) -> str:
    """Return a line of the table; what misses its mark is marked."""
    missed = "  MISSED" if tail > P99_MS or (cpu or 0) > CPU_MS else ""
    return f"{name:<36}{'' if cpu is None else f'{cpu:.1f}':>14}{tail:>16.1f}{missed}"


if __name__ == "__main__":
    main()
